"""The history of a workload's template: a ControllerRevision for each, numbered in the order of their use.

A template that comes back gets its old revision with a new number. What kubectl reads is upstream's: `data` is a patch
that puts the template back. Source: https://kubernetes.io/docs/concepts/workloads/management/#controllerrevision
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import orjson

from tiphys.api.errors import AlreadyExists, NotFound
from tiphys.api.meta import Key, ObjectMeta, Uid, owner_reference
from tiphys.api.resource import Json, ResourceType
from tiphys.api.selectors import LabelSelector
from tiphys.client.informer import meta_of
from tiphys.controllers.base import Context
from tiphys.controllers.deployment_revision import same_template, template_hash
from tiphys.controllers.ownership import CONTROLLER, ORPHANS, add_indexes, carry_out, claim
from tiphys.kinds.apps.controllerrevision import CONTROLLER_REVISIONS, ControllerRevision

HASH = "controller-revision-hash"
_NOT_COPIED = "kubectl.kubernetes.io/last-applied-configuration"
R = TypeVar("R", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Plan:
    """One of: `found` is the newest already; `found` gets the number `renumber`; none has the template."""

    found: ControllerRevision | None
    renumber: int = 0
    next: int = 1


def plan(template: Json, held: Sequence[ControllerRevision]) -> Plan:
    last = max((each.revision for each in held), default=0)
    same = [each for each in held if same_template(template, template_of(each))]
    if not same:
        return Plan(None, next=last + 1)
    found = max(same, key=lambda each: each.revision)
    return Plan(found, last + 1 if found.revision < last else 0, last + 1)


def superfluous(held: Sequence[ControllerRevision], live: Iterable[str], limit: int) -> Sequence[ControllerRevision]:
    """Those to delete, oldest first: no more than `limit` are kept of those that are not `live` (by name)."""
    names = set(live)
    old = sorted((each for each in held if each.metadata.name not in names), key=lambda each: each.revision)
    return old[: max(len(old) - limit, 0)]


def template_of(revision: ControllerRevision) -> Json:
    data = orjson.loads(bytes(revision.data)) or {}
    template = (data.get("spec") or {}).get("template") or {}
    return {name: value for name, value in template.items() if name != "$patch"}



class Owner(Protocol):
    @property
    def metadata(self) -> ObjectMeta: ...
    @property
    def status(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Known:
    """The revision that was found for a generation of an owner, so that its template need not be read again."""

    uid: Uid
    generation: int
    collisions: int
    revision: Uid


class Revisions(Generic[R]):
    """Of all objects of `resource`. `hash_label` of a revision holds the hash that its name ends with."""

    def __init__(
        self, context: Context, resource: ResourceType[R], selector: Callable[[R], LabelSelector],
        hash_label: str = HASH,
    ) -> None:  # fmt: skip
        self._resource, self._selector, self._hash_label = resource, selector, hash_label
        self._informer = context.watch(CONTROLLER_REVISIONS, self._keys_of)
        add_indexes(self._informer)
        self._client, self._owners = context.client.of(CONTROLLER_REVISIONS), context.client.of(resource)
        self._known: dict[Key, _Known] = {}

    async def of(self, owner: R) -> Sequence[ControllerRevision]:
        meta = meta_of(owner)
        claimed = claim(
            meta, self._selector(owner),
            self._informer.by(CONTROLLER, meta.uid), self._informer.by(ORPHANS, meta.namespace),
        )  # fmt: skip
        await carry_out(claimed, meta, self._owners, self._client)
        return claimed.owned

    async def newest(self, owner: Owner, held: Sequence[ControllerRevision]) -> ControllerRevision | None:
        """The revision of the present template, made or renumbered if need be.

        None where the informer is behind or the name is taken: an event brings the owner back.
        """
        meta, collisions = owner.metadata, owner.status.collision_count or 0
        last = max(held, key=lambda each: each.revision, default=None)
        known = self._known.get(meta.key)
        if last is not None and known == _Known(meta.uid, meta.generation, collisions, last.metadata.uid):
            return last
        try:
            whole = await self._owners.get_json(meta.name, meta.namespace)
        except NotFound:
            return None
        if (whole["metadata"]["uid"], whole["metadata"].get("generation", 0)) != (meta.uid, meta.generation):
            return None
        template = whole["spec"].get("template") or {}
        planned = plan(template, held)
        found = planned.found
        if found is None:
            found = await self._create(meta, template, planned.next, collisions)
        elif planned.renumber:
            patch = {"metadata": {"uid": found.metadata.uid}, "revision": planned.renumber}
            found = await self._client.patch(found.metadata, patch)
        if found is not None:
            self._known[meta.key] = _Known(meta.uid, meta.generation, collisions, found.metadata.uid)
        return found

    def forget(self, key: Key) -> None:
        self._known.pop(key, None)

    async def truncate(self, held: Sequence[ControllerRevision], live: Iterable[str], limit: int) -> None:
        for each in superfluous(held, live, limit):
            try:
                await self._client.delete(each.metadata)
            except NotFound:
                continue

    async def _create(
        self, owner: ObjectMeta, template: Json, number: int, collisions: int
    ) -> ControllerRevision | None:  # fmt: skip
        hash_ = template_hash(template, collisions)
        reference = owner_reference(self._resource.api_version, self._resource.kind, owner)
        labels: Mapping[str, str] = (template.get("metadata") or {}).get("labels") or {}
        wanted: Json = {
            "metadata": {
                "name": f"{owner.name}-{hash_}", "namespace": owner.namespace, "ownerReferences": [reference],
                "labels": {**labels, self._hash_label: hash_},
                "annotations": {key: value for key, value in owner.annotations.items() if key != _NOT_COPIED},
            },
            "revision": number, "data": {"spec": {"template": {**template, "$patch": "replace"}}},
        }  # fmt: skip
        try:
            made: ControllerRevision = await self._client.create(wanted)
        except AlreadyExists:
            await self._collide(owner, wanted, collisions)
            return None
        return made

    async def _collide(self, owner: ObjectMeta, wanted: Json, collisions: int) -> None:
        """The name is taken: by our own, which the informer has yet to see, or by another's."""
        meta = wanted["metadata"]
        held = await self._client.get(meta["name"], meta["namespace"])
        above = held.metadata.controller
        if above is not None and above.uid == owner.uid and same_template(template_of(held), _template(wanted)):
            return
        patch = {"metadata": {"uid": owner.uid}, "status": {"collisionCount": collisions + 1}}
        await self._owners.patch(owner, patch, subresource="status")

    def _keys_of(self, each: ControllerRevision) -> Iterable[str]:
        owner = each.metadata.controller
        if owner is not None and owner.kind == self._resource.kind and owner.api_version == self._resource.api_version:
            yield f"{each.metadata.namespace}/{owner.name}"


def _template(revision: Json) -> Json:
    template: Json = revision["data"]["spec"]["template"]
    return {name: value for name, value in template.items() if name != "$patch"}
