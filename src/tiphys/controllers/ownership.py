"""Which objects a controller's object owns: by controller reference, adopted and released by its selector.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from tiphys.api.errors import NotFound
from tiphys.api.meta import ObjectMeta, owner_reference
from tiphys.api.selectors import LabelSelector, from_object
from tiphys.client.client import ResourceClient
from tiphys.client.informer import Informer, meta_of

T = TypeVar("T", bound=msgspec.Struct)
# Names of the indexes: by the uid of the controller; by the namespace of what has no controller; by namespace.
CONTROLLER, ORPHANS, NAMESPACE = "controller", "orphans", "namespace"


def add_indexes(informer: Informer[Any]) -> None:
    informer.add_index(CONTROLLER, controllers)
    informer.add_index(ORPHANS, _orphans)


def by_namespace(obj: msgspec.Struct) -> Iterable[str]:
    return (meta_of(obj).namespace,)


def controllers(obj: msgspec.Struct) -> Iterable[str]:
    owner = meta_of(obj).controller
    return (owner.uid,) if owner is not None else ()


def _orphans(obj: msgspec.Struct) -> Iterable[str]:
    meta = meta_of(obj)
    return (meta.namespace,) if meta.controller is None and meta.deletion_timestamp is None else ()


def selector_of(selector: msgspec.Struct) -> LabelSelector:
    """The matcher of a LabelSelector model."""
    return from_object(msgspec.to_builtins(selector))


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """`owned` holds what the owner has once `adopt` and `release` are carried out."""

    owned: Sequence[T]
    adopt: Sequence[T]
    release: Sequence[T]


def claim(owner: ObjectMeta, selector: LabelSelector, owned: Iterable[T], orphans: Iterable[T]) -> Claim[T]:
    """`owned` have `owner` as their controller, `orphans` have none. An owner that is going claims nothing new."""
    if owner.deletion_timestamp is not None:
        return Claim(list(owned), (), ())
    kept, release = [], []
    for obj in owned:
        meta = meta_of(obj)
        if selector.matches(meta.labels) or meta.deletion_timestamp is not None:
            kept.append(obj)
        else:
            release.append(obj)
    adopt = [obj for obj in orphans if selector.matches(meta_of(obj).labels)]
    return Claim(kept + adopt, adopt, release)


async def carry_out(claim: Claim[T], owner: ObjectMeta, owners: ResourceClient[Any], owned: ResourceClient[T]) -> None:
    """Write the references that `claim` asks for. An owner that went meanwhile adopts nothing."""
    if claim.adopt:
        try:
            current = meta_of(await owners.get(owner.name, owner.namespace))
        except NotFound:
            return
        if current.uid != owner.uid or current.deletion_timestamp is not None:
            return
    reference = owner_reference(owners.resource.api_version, owners.resource.kind, owner)
    for obj in claim.adopt:
        await _patch(owned, meta_of(obj), reference)
    for obj in claim.release:
        await _patch(owned, meta_of(obj), {"$patch": "delete", "uid": owner.uid})


async def _patch(client: ResourceClient[Any], meta: ObjectMeta, reference: dict[str, Any]) -> None:
    patch = {"metadata": {"uid": meta.uid, "ownerReferences": [reference]}}
    try:
        await client.patch(meta, patch, kind="strategic")
    except NotFound:
        # It is gone, and so is the question whose it is.
        return
