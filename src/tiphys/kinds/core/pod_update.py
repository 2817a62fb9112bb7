"""What of a pod may change after it was created. Source: upstream's `ValidatePodUpdate`.

Binding, ephemeral containers and resizing are subresources upstream; their writers pass here too, so a first
`nodeName`, appended ephemeral containers and new cpu and memory amounts are not refused.
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.errors import forbidden, invalid
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors

_RULE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_FREE = ("image", "resources", "resizePolicy")


def check_pod_update(new: Json, old: Json) -> Errors:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if before == after:
        return
    for list_name in ("containers", "initContainers"):
        if len(before.get(list_name) or ()) != len(after.get(list_name) or ()):
            yield forbidden(f"spec.{list_name}", "pod updates may not add or remove containers")
            return
    yield from _check_deadline(after, before)
    yield from _check_tolerations(after, before)
    yield from _check_gates(after, before)
    left, right = _fixed(before, before), _fixed(after, before)
    if left != right:
        yield forbidden("spec", f"{_RULE}\n{_difference(left, right)}")


def _check_deadline(after: Json, before: Json) -> Errors:
    new, old = after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    if old is not None and new is None:
        yield invalid("spec.activeDeadlineSeconds", new, "must not update from a positive integer to nil value")
    elif old is not None and new > old:
        rule = "must be less than or equal to previous value"
        yield invalid("spec.activeDeadlineSeconds", new, rule)


def _key(toleration: Json) -> tuple[Any, ...]:
    """What makes two tolerations the same; their seconds may change."""
    return tuple(toleration.get(name) or "" for name in ("key", "operator", "value", "effect"))


def _check_tolerations(after: Json, before: Json) -> Errors:
    kept = {_key(toleration) for toleration in after.get("tolerations") or ()}
    if any(_key(toleration) not in kept for toleration in before.get("tolerations") or ()):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")


def _check_gates(after: Json, before: Json) -> Errors:
    had = {gate.get("name") for gate in before.get("schedulingGates") or ()}
    for gate in after.get("schedulingGates") or ():
        if gate.get("name") not in had:
            rule = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield forbidden("spec.schedulingGates", rule)


def _fixed(spec: Json, before: Json) -> Json:
    """`spec` without what may change."""
    fixed = {name: value for name, value in spec.items() if name not in ("activeDeadlineSeconds", "tolerations")}
    fixed.pop("ephemeralContainers", None)
    fixed.pop("schedulingGates", None)
    if before.get("schedulingGates"):
        # Nobody has scheduled it yet: where it may run can still be narrowed.
        fixed.pop("nodeSelector", None)
        fixed.pop("affinity", None)
    if not before.get("nodeName"):
        fixed.pop("nodeName", None)
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and spec.get("terminationGracePeriodSeconds") in (
        1,
        before.get("terminationGracePeriodSeconds"),
    ):
        fixed.pop("terminationGracePeriodSeconds", None)
    for list_name in ("containers", "initContainers"):
        if list_name in fixed:
            fixed[list_name] = [
                {name: value for name, value in container.items() if name not in _FREE}
                for container in fixed[list_name]
            ]
    return fixed


def _difference(left: Json, right: Json) -> str:
    """The fields that differ, old and new, one a line."""
    changed = [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]
    return "\n".join(f"{name}: {_shown(left.get(name))} -> {_shown(right.get(name))}" for name in changed)


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()
