"""What it takes to have objects as they were: compare then with now, and say what to create, put back and delete. Pure.

Left alone are objects that a controller owns, since their owners make them again, and what is derived from others or
only reported. Status is not put back, and what is created again is a new object with a new UID.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tiphys.api.resource import Json

# By store prefix: what others derive, or what only tells what happened.
_DERIVED = frozenset({
    "core/events", "events.k8s.io/events", "core/endpoints", "discovery.k8s.io/endpointslices",
    "coordination.k8s.io/leases", "networking.k8s.io/ipaddresses", "allocations/nodeports",
    "apps/controllerrevisions", "metrics.k8s.io/pods",
})  # fmt: skip
# Set by the server, or of the object that is no more.
_OWN = (
    "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "deletionTimestamp",
    "deletionGracePeriodSeconds", "selfLink",
)  # fmt: skip
# Who is needed by others comes first; who is not named here in between, who needs others last.
_FIRST = ("core/serviceaccounts", "core/secrets", "core/configmaps", "core/persistentvolumeclaims", "core/services")
_LAST = ("core/pods",)
CREATE, RESTORE, DELETE = "create", "restore", "delete"


@dataclass(frozen=True, slots=True)
class Step:
    """`obj` is what is to be created or put back; for a deletion, what is there. `changed` are paths, for people."""

    action: str
    key: str
    obj: Json
    changed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.obj['kind'].lower()}/{self.obj['metadata']['name']}"


def steps(then: Mapping[str, Json], now: Mapping[str, Json]) -> list[Step]:
    """From objects by store key, then and now, to what has to be done, in order."""
    found = []
    for key, obj in then.items():
        if not _is_kept(key, obj):
            continue
        present = now.get(key)
        if present is None or present["metadata"].get("deletionTimestamp"):
            found.append(Step(CREATE, key, wanted(obj)))
        elif _prefix(key) != "core/pods":
            changed = tuple(differences(wanted(present), wanted(obj)))
            if changed:
                meta = {name: present["metadata"][name] for name in ("uid", "resourceVersion")}
                back = wanted(obj)
                found.append(Step(RESTORE, key, {**back, "metadata": {**back["metadata"], **meta}}, changed))
    for key, obj in now.items():
        if key not in then and _is_kept(key, obj) and not obj["metadata"].get("deletionTimestamp"):
            found.append(Step(DELETE, key, obj))
    return sorted(found, key=_order)


def _order(step: Step) -> tuple[int, int, str]:
    place = (CREATE, RESTORE, DELETE).index(step.action)
    rank = _rank(_prefix(step.key))
    return place, -rank if step.action == DELETE else rank, step.key


def _rank(prefix: str) -> int:
    if prefix in _FIRST:
        return _FIRST.index(prefix) - len(_FIRST)
    return 1 if prefix in _LAST else 0


def _prefix(key: str) -> str:
    """`apps/deployments` of `/registry/apps/deployments/default/web`."""
    _, _, group, plural, *_ = key.split("/")
    return f"{group}/{plural}"


def _is_kept(key: str, obj: Json) -> bool:
    if _prefix(key) in _DERIVED or obj.get("type") == "kubernetes.io/service-account-token":
        return False
    return not any(owner.get("controller") for owner in obj["metadata"].get("ownerReferences") or ())


def wanted(obj: Json) -> Json:
    """The object as somebody would have to write it."""
    found = {name: value for name, value in obj.items() if name != "status"}
    found["metadata"] = {name: value for name, value in obj["metadata"].items() if name not in _OWN}
    # Owners by their old UIDs are nobody: the garbage collector would take the object at once.
    found["metadata"].pop("ownerReferences", None)
    if obj.get("kind") == "Pod":
        found["spec"] = {name: value for name, value in obj["spec"].items() if name != "nodeName"}
    return found


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Paths that differ, each with its values where they are short."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from differences(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif old != new:
        yield f"{path}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
