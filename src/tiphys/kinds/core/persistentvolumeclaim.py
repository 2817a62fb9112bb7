"""PersistentVolumeClaim. Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tiphys.api import names, quantity
from tiphys.api.errors import FieldError, forbidden, invalid, not_supported
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import IMMUTABLE, follows
from tiphys.kinds.columns import AGE, NAME, UNSET, at, column
from tiphys.kinds.core.claim_defaults import default_claim_spec
from tiphys.kinds.core.claim_validation import check_claim_spec
from tiphys.kinds.core.claim_warnings import claim_warnings, class_annotation_warnings
from tiphys.kinds.core.resource_validation import is_native
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
_RESIZE_STATES = (
    "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible",
    "NodeResizePending",
)  # fmt: skip


class PersistentVolumeClaimStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        default_claim_spec(new.setdefault("spec", {}))

    def prepare(self, new: Json, old: Json | None) -> None:
        if old is None:
            new["status"] = {"phase": "Pending"}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec, before = new.get("spec") or {}, (old or {}).get("spec")
        if old is None or before is None:
            yield from check_claim_spec(spec, "spec")
        elif spec != before:
            grouped = any((before.get(name) or {}).get("apiGroup") for name in ("dataSource", "dataSourceRef"))
            yield from check_claim_spec(spec, "spec", any_group=grouped)
            yield from _check_update(new, old)
        if old is not None and new.get("status") != old.get("status"):
            yield from _check_status(new.get("status") or {})

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        yield from class_annotation_warnings(new)
        yield from claim_warnings(new.get("spec") or {}, "spec")


def _check_update(new: Json, old: Json) -> Iterator[FieldError]:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    bound = dig(new, "status", "phase") == "Bound"
    after, base = _fixed(spec, before, bound=bound), _fixed(before, before, bound=bound)
    if after != base:
        changed = [name for name in sorted({*after, *base}) if after.get(name) != base.get(name)]
        shown = "\n".join(f"{name}: {_json(base.get(name))} -> {_json(after.get(name))}" for name in changed)
        yield forbidden("spec", f"{_RULE}\n{shown}")
    yield from _check_size(spec, before, dig(old, "status", "capacity", "storage"))
    if spec.get("volumeMode") != before.get("volumeMode"):
        yield invalid("volumeMode", spec.get("volumeMode"), IMMUTABLE)
    chosen, was = spec.get("volumeAttributesClassName"), before.get("volumeAttributesClassName")
    if was is not None and chosen != was and not chosen:
        what = "nil" if chosen is None else "an empty string"
        yield forbidden("spec.volumeAttributesClassName", f"update from non-nil value to {what} is forbidden")


def _fixed(spec: Json, before: Json, *, bound: bool) -> Json:
    """What may not change, as far as `bound` tells."""
    fixed = dict(spec)
    if bound:
        fixed.pop("volumeAttributesClassName", None)
        resources = spec.get("resources") or {}
        requests = {name: amount for name, amount in (resources.get("requests") or {}).items() if name != "storage"}
        fixed["resources"] = {**resources, "requests": requests}
    if not before.get("volumeName"):
        fixed.pop("volumeName", None)
    if before.get("storageClassName") is None:
        # A class that became the default later may be given to a claim that had none.
        fixed.pop("storageClassName", None)
    return fixed


def _check_size(spec: Json, before: Json, capacity: str | None) -> Iterator[FieldError]:
    """A claim may ask for less again while that is more than it has: so one recovers from growing too far."""
    old, new = (dig(part, "resources", "requests", "storage") for part in (before, spec))
    if not old or not new or quantity.parse(new) >= quantity.parse(old):
        return
    if quantity.parse(new) <= quantity.parse(capacity or "0"):
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _check_status(status: Json) -> Iterator[FieldError]:
    for name, amount in (status.get("capacity") or {}).items():
        if quantity.parse(amount).nanos < 0:
            where = f"status.capacity[{name}]"
            yield invalid(where, quantity.parse(amount).value(), "must be a valid resource quantity")
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        yield from _check_allocated(name, "status.allocatedResourceStatus")
        if state not in _RESIZE_STATES:
            yield not_supported("status.allocatedResourceStatus", name, _RESIZE_STATES)
    for name, amount in (status.get("allocatedResources") or {}).items():
        yield from _check_allocated(name, "status.allocatedResources")
        if quantity.parse(amount).nanos < 0:
            where = f"status.allocatedResources[{name}]"
            yield invalid(where, quantity.parse(amount).value(), "must be a valid resource quantity")


def _check_allocated(name: str, path: str) -> Iterator[FieldError]:
    yield from follows(name, path, names.qualified_name)
    if is_native(name) and name != "storage":
        yield not_supported(path, name, ("storage",))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


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
