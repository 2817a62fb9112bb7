"""PersistentVolumeClaim. Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api import names, quantity
from tiphys.api.errors import FieldError, forbidden, invalid, not_supported, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, label_selector, one_of
from tiphys.kinds.columns import AGE, NAME, UNSET, at, column
from tiphys.kinds.core.claim_defaults import default_claim_spec
from tiphys.kinds.core.volume import ClaimSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import StatusStrategy


class ClaimCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class ClaimStatus(Model):
    phase: str = "Pending"
    access_modes: list[str] = []
    capacity: dict[str, str] = {}
    conditions: list[ClaimCondition] = []


class PersistentVolumeClaim(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_RULE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


class PersistentVolumeClaimStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        default_claim_spec(new.setdefault("spec", {}))

    def prepare(self, new: Json, old: Json | None) -> None:
        if old is None:
            new["status"] = {"phase": "Pending"}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        yield from check_claim_spec(spec, "spec")
        before = (old or {}).get("spec")
        if before is not None and _fixed(spec, before) != _fixed(before, before):
            yield forbidden("spec", _RULE)
        if before is not None:
            yield from _check_size(spec, before)


def check_claim_spec(spec: Json, path: str) -> Iterator[FieldError]:
    """Also of the claim template of an ephemeral volume."""
    yield from check_access_modes(spec, path)
    yield from label_selector(spec.get("selector"), f"{path}.selector")
    requests = dig(spec, "resources", "requests") or {}
    if "storage" not in requests:
        yield required(f"{path}.resources[storage]")
    elif quantity.parse(requests["storage"]) <= quantity.ZERO:
        yield invalid(f"{path}.resources[storage]", requests["storage"], "must be greater than zero")
    if spec.get("storageClassName"):
        yield from follows(spec["storageClassName"], f"{path}.storageClassName", names.dns1123_subdomain)
    yield from one_of(spec, path, "volumeMode", ("Block", "Filesystem"))


def check_access_modes(spec: Json, path: str) -> Iterator[FieldError]:
    modes = spec.get("accessModes") or ()
    if not modes:
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield not_supported(f"{path}.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield forbidden(f"{path}.accessModes", "may not use ReadWriteOncePod with other access modes")


def _fixed(spec: Json, before: Json) -> Json:
    fixed = {name: value for name, value in spec.items() if name not in ("resources", "volumeAttributesClassName")}
    if not before.get("volumeName"):
        fixed.pop("volumeName", None)
    if before.get("storageClassName") is None:
        # A class that became the default later may be given to a claim that had none.
        fixed.pop("storageClassName", None)
    return fixed


def _check_size(spec: Json, before: Json) -> Iterator[FieldError]:
    old, new = (dig(part, "resources", "requests", "storage") for part in (before, spec))
    if old and new and quantity.parse(new) < quantity.parse(old):
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def modes_text(modes: list[str] | None) -> str:
    """`RWO,ROX`: each mode once, in upstream's order."""
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or ()))


def _status(obj: Json) -> str:
    return "Terminating" if dig(obj, "metadata", "deletionTimestamp") else dig(obj, "status", "phase") or ""


def _bound(obj: Json, *path: str) -> Any:
    return dig(obj, *path) if dig(obj, "spec", "volumeName") else None


PERSISTENT_VOLUME_CLAIMS = declare(
    PersistentVolumeClaim, group="", version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims",
    short_names=("pvc",), status=True,
    columns=(
        NAME, column("Status", _status), at("Volume", "spec", "volumeName"),
        column("Capacity", lambda obj: _bound(obj, "status", "capacity", "storage") or ""),
        column("Access Modes", lambda obj: modes_text(_bound(obj, "status", "accessModes"))),
        at("StorageClass", "spec", "storageClassName"),
        at("VolumeAttributesClass", "spec", "volumeAttributesClassName", empty=UNSET), AGE,
        at("VolumeMode", "spec", "volumeMode", empty=UNSET, wide=True),
    ),
    strategy=PersistentVolumeClaimStrategy(),
)  # fmt: skip
