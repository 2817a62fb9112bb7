"""What of a pod may change after it was created.

Binding gives a first `nodeName`, `ephemeralcontainers` appends some, `resize` changes amounts; the server lets each
change nothing else, and nothing else changes these.
Source: upstream's `ValidatePodUpdate`, `ValidatePodEphemeralContainersUpdate` and `ValidatePodResize`.
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.errors import forbidden, invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors
from tiphys.kinds.core.placement_validation import check_tolerations
from tiphys.kinds.core.pod_annotations import MIRROR
from tiphys.kinds.core.pod_resize import check_resize, resized

_RULE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_FREE = frozenset({"image"})
_FREE_OF_RESIZE = _FREE | {"resources", "resizePolicy"}
_MAX_INT32 = 2**31 - 1
_NODE_TERMS = "requiredDuringSchedulingIgnoredDuringExecution"


def check_pod_update(new: Json, old: Json, part: str | None = None) -> Errors:
    """`part`: the subresource of the write, None for one that may change what any of them may."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if before == after:
        return
    for list_name in ("containers", "initContainers"):
        if len(before.get(list_name) or ()) != len(after.get(list_name) or ()):
            yield forbidden(f"spec.{list_name}", "pod updates may not add or remove containers")
            return
        for index, container in enumerate(after.get(list_name) or ()):
            if not container.get("image"):
                yield required(f"spec.{list_name}[{index}].image")
    stopped = yield from _check_deadline(after, before)
    if stopped:
        return
    yield from _check_tolerations(after, before)
    yield from _check_gates(after, before)
    yield from _check_ephemeral(after, before, old)
    if part in (None, "resize") and resized(after, before):
        yield from check_resize(new, old)
    left, right = _fixed(before, before, part), _fixed(after, before, part)
    if before.get("schedulingGates"):
        yield from _check_gated(right, left)
    if left != right:
        yield forbidden("spec", f"{_RULE}\n{_difference(left, right)}")


def _check_deadline(after: Json, before: Json) -> Any:
    """Yields errors; returns whether upstream looks no further."""
    new, old, where = after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"), "activeDeadlineSeconds"
    if new is not None and not 0 <= new <= _MAX_INT32:
        yield invalid(f"spec.{where}", new, f"must be between 0 and {_MAX_INT32}, inclusive")
        return True
    if new is not None and old is not None and new > old:
        yield invalid(f"spec.{where}", new, "must be less than or equal to previous value")
        return True
    if new is None and old is not None:
        yield invalid(f"spec.{where}", new, "must not update from a positive integer to nil value")
    return False


def _key(toleration: Json) -> tuple[Any, ...]:
    """What makes two tolerations the same; their seconds may change."""
    return tuple(toleration.get(name) or "" for name in ("key", "operator", "value", "effect"))


def _check_tolerations(after: Json, before: Json) -> Errors:
    wanted = after.get("tolerations") or []
    kept = {_key(toleration) for toleration in wanted}
    if any(_key(toleration) not in kept for toleration in before.get("tolerations") or ()):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    else:
        yield from check_tolerations(wanted, "spec.tolerations")


def _check_gates(after: Json, before: Json) -> Errors:
    had = {gate.get("name") for gate in before.get("schedulingGates") or ()}
    for index, gate in enumerate(after.get("schedulingGates") or ()):
        if gate.get("name") not in had:
            rule = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield forbidden(f"spec.schedulingGates[{index}].name", rule)


def _check_ephemeral(after: Json, before: Json, old: Json) -> Errors:
    had, has = before.get("ephemeralContainers") or (), after.get("ephemeralContainers") or ()
    if had == has:
        return
    if MIRROR in ((old.get("metadata") or {}).get("annotations") or {}):
        yield forbidden("", "static pods do not support ephemeral containers")
        return
    now = {container.get("name"): container for container in has}
    for container in had:
        name, where = container.get("name"), "spec.ephemeralContainers"
        if name not in now:
            yield forbidden(where, f'existing ephemeral containers "{name}" may not be removed\n')
        elif now[name] != container:
            shown = _difference(container, now[name])
            yield forbidden(where, f'existing ephemeral containers "{name}" may not be changed\n{shown}')


def _check_gated(right: Json, left: Json) -> Errors:
    """Nobody has scheduled the pod yet: where it may run can be narrowed. Takes out of both what it has judged."""
    had, has = left.pop("nodeSelector", None) or {}, right.pop("nodeSelector", None) or {}
    if any(has.get(key) != value for key, value in had.items()):
        rule = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield invalid("spec.nodeSelector", has, rule)
    before, after = left.pop("affinity", None) or {}, right.pop("affinity", None) or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        left[kind], right[kind] = before.get(kind), after.get(kind)
    yield from _check_terms(*(((part.get("nodeAffinity") or {}).get(_NODE_TERMS) or {}) for part in (before, after)))


def _check_terms(before: Json, after: Json) -> Errors:
    had, has = before.get("nodeSelectorTerms") or [], after.get("nodeSelectorTerms") or []
    where = f"spec.affinity.nodeAffinity.{_NODE_TERMS}.nodeSelectorTerms"
    if had and len(had) != len(has):
        yield invalid(where, has, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for index, (old, new) in enumerate(zip(had, has, strict=False)):
        if not _only_adds(new, old):
            yield invalid(f"{where}[{index}]", new, "only additions are allowed (no mutations or deletions)")


def _only_adds(new: Json, old: Json) -> bool:
    lists = [(old.get(field) or [], new.get(field) or []) for field in ("matchExpressions", "matchFields")]
    if not any(before for before, _ in lists) and any(after for _, after in lists):
        return False
    return all(after[: len(before)] == before for before, after in lists)


def _fixed(spec: Json, before: Json, part: str | None) -> Json:
    """`spec` without what may change."""
    fixed = {name: value for name, value in spec.items() if name not in ("activeDeadlineSeconds", "tolerations")}
    fixed.pop("schedulingGates", None)
    if part in (None, "ephemeralcontainers"):
        fixed.pop("ephemeralContainers", None)
    if part in (None, "binding") and not before.get("nodeName"):
        fixed.pop("nodeName", None)
    if (before.get("terminationGracePeriodSeconds") or 0) < 0 and spec.get("terminationGracePeriodSeconds") in (
        1,
        before.get("terminationGracePeriodSeconds"),
    ):
        fixed.pop("terminationGracePeriodSeconds", None)
    free = _FREE_OF_RESIZE if part in (None, "resize") else _FREE
    for list_name in ("containers", "initContainers"):
        if list_name in fixed:
            fixed[list_name] = [
                {name: value for name, value in container.items() if name not in free} for container in fixed[list_name]
            ]
    return fixed


def _difference(left: Json, right: Json) -> str:
    """The fields that differ, old and new, one a line."""
    changed = [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]
    return "\n".join(f"{name}: {_shown(left.get(name))} -> {_shown(right.get(name))}" for name in changed)


def _shown(value: Any) -> str:
    return orjson.dumps(value).decode()
