"""Metadata as components read it: frozen Structs of the fields that they use, and the few rules over them."""

from __future__ import annotations

from typing import Any, NewType, dataclass_transform

import msgspec

Uid = NewType("Uid", str)
# "namespace/name", or "name" for what has no namespace.
Key = NewType("Key", str)
NodeName = NewType("NodeName", str)


# Words that the wire writes in capitals, unless they begin the name: `podIP`, but `apiGroup`.
_CAPITALS = {
    word.lower(): word for word in ("API", "CIDR", "CIDRs", "FQDN", "ID", "IP", "IPC", "IPs", "PID", "URLs", "UUID")
}


def wire_name(name: str) -> str:
    """The JSON name of a field: `pod_ip` is `podIP`, `restart_policy` is `restartPolicy`."""
    first, *rest = name.split("_")
    return first + "".join(_CAPITALS.get(word) or word.capitalize() for word in rest)


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Model(msgspec.Struct, frozen=True, rename=wire_name, omit_defaults=True, gc=False):
    """Base of every model, frozen: unknown fields are ignored, JSON's camelCase is Python's snake_case."""


class OwnerReference(Model, frozen=True):
    api_version: str
    kind: str
    name: str
    uid: Uid
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: Uid = Uid("")
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []

    @property
    def key(self) -> Key:
        return Key(f"{self.namespace}/{self.name}" if self.namespace else self.name)

    @property
    def revision(self) -> int:
        """`resourceVersion` as the number it is inside Tiphys; 0 where there is none."""
        return int(self.resource_version or 0)

    @property
    def controller(self) -> OwnerReference | None:
        return next((owner for owner in self.owner_references if owner.controller), None)


class Object(Model, frozen=True):
    """What any object has; the model of kinds whose content no component reads."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


class ObjectReference(Model, frozen=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    uid: Uid = Uid("")
    resource_version: str = ""
    field_path: str = ""


def owner_reference(api_version: str, kind: str, owner: ObjectMeta) -> dict[str, Any]:
    """The controller reference that an object made for `owner` carries."""
    return {
        "apiVersion": api_version, "kind": kind, "name": owner.name, "uid": owner.uid,
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
