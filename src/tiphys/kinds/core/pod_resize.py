"""What a resize may change: amounts of cpu and memory of containers that run along.

Source: upstream's `ValidatePodResize`.
"""

from __future__ import annotations

from tiphys.api import quantity
from tiphys.api.errors import forbidden, invalid
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors
from tiphys.kinds.core.pod_annotations import MIRROR
from tiphys.kinds.core.qos import qos_class

_RESIZABLE = ("cpu", "memory")
_LISTS = ("initContainers", "containers")


def resized(after: Json, before: Json) -> bool:
    """Whether amounts differ, or what they ask of their container; both have as many containers."""
    return any(
        new.get(field) != old.get(field)
        for list_name in _LISTS
        for new, old in zip(after.get(list_name) or (), before.get(list_name) or (), strict=True)
        for field in ("resources", "resizePolicy")
    )


def check_resize(new: Json, old: Json) -> Errors:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    refused = _refused(old, before)
    if refused:
        yield forbidden("", refused)
        return
    if qos_class(before) != qos_class(after):
        shown = (new.get("status") or {}).get("qosClass")
        yield invalid("spec", shown, "Pod QOS Class may not change as a result of resizing")
    for status in (old.get("status") or {}).get("containerStatuses") or ():
        if (status.get("state") or {}).get("running") is not None:
            if status.get("resources") is None:
                yield forbidden("spec", "Pod running on node without support for resize")
            break
    for list_name in _LISTS:
        pairs = zip(after.get(list_name) or (), before.get(list_name) or (), strict=True)
        for index, (changed, container) in enumerate(pairs):
            if list_name == "initContainers" and container.get("restartPolicy") != "Always":
                if changed.get("resources") != container.get("resources"):
                    yield forbidden("spec", "resources for non-sidecar init containers are immutable")
            else:
                where = f"spec.{list_name}[{index}].resources"
                yield from _check_container(changed, container, where, sidecar=list_name == "initContainers")


def _refused(old: Json, before: Json) -> str:
    """Why this pod cannot be resized at all; empty where it can."""
    if MIRROR in ((old.get("metadata") or {}).get("annotations") or {}):
        return "static pods cannot be resized"
    return "windows pods cannot be resized" if (before.get("os") or {}).get("name") == "windows" else ""


def _check_container(new: Json, old: Json, path: str, *, sidecar: bool) -> Errors:
    after, before = new.get("resources") or {}, old.get("resources") or {}
    for kind, called in (("requests", "resource requests"), ("limits", "resource limits")):
        if set(before.get(kind) or ()) - set(after.get(kind) or ()):
            yield forbidden(f"{path}.{kind}", f"{called} cannot be removed")
    if _others(after) != _others(before):
        what = " for sidecar containers" if sidecar else ""
        yield forbidden("spec", f"only cpu and memory resources{what} are mutable")


def _others(resources: Json) -> list[dict[str, quantity.Quantity]]:
    return [
        {name: quantity.parse(amount) for name, amount in (resources.get(kind) or {}).items() if name not in _RESIZABLE}
        for kind in ("requests", "limits")
    ]
