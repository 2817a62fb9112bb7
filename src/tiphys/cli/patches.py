"""The patch of client-side apply: from what was applied last, what is applied now and what lives on the server.

A field that was applied and is no more is deleted, a field that differs is set, all others stay the server's.
Lists that the schema merges by a key are compared item by item. Source:
https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#how-apply-calculates-differences-and-merges-changes
"""

from __future__ import annotations

from typing import Any

from tiphys.api.schema import ANYTHING, Schema

Json = dict[str, Any]


def merge_patch(last: Json, new: Json, live: Json) -> Json:
    """A JSON merge patch that takes `live` to `new`, deleting what only `last` had."""
    patch: Json = {}
    for key, value in new.items():
        if value is None:
            if key in live:
                patch[key] = None
        elif key not in live:
            patch[key] = value
        elif isinstance(value, dict) and isinstance(live[key], dict):
            before = last.get(key)
            below = merge_patch(before if isinstance(before, dict) else {}, value, live[key])
            if below:
                patch[key] = below
        elif value != live[key]:
            patch[key] = value
    patch |= {key: None for key in last if key not in new and key in live}
    return patch


def strategic(schema: Schema, last: Json, new: Json, live: Json) -> Json:
    """A strategic merge patch that takes `live` to `new`, deleting what only `last` had."""
    patch: Json = {}
    for key, value in new.items():
        field = schema.field(key) or ANYTHING
        if value is None:
            if live.get(key) is not None:
                patch[key] = None
        elif key not in live:
            patch[key] = value
        elif isinstance(value, dict) and isinstance(live[key], dict):
            below = _map(field, last.get(key), value, live[key])
            if below:
                patch[key] = below
        elif isinstance(value, list) and isinstance(live[key], list) and "merge" in field.patch_strategy:
            before = last.get(key)
            patch |= _list(field, key, (before if isinstance(before, list) else [], value, live[key]))
        elif value != live[key]:
            patch[key] = value
    patch |= {key: None for key in last if key not in new and key in live}
    _retain(schema, patch, new)
    return patch


def _map(field: Schema, last: Any, new: Json, live: Json) -> Json:
    before = last if isinstance(last, dict) else {}
    if "replace" in field.patch_strategy:
        return {} if new == live else {"$patch": "replace", **new}
    below = strategic(field, before, new, live)
    if below and "retainKeys" in field.patch_strategy:
        below["$retainKeys"] = sorted(new)
    return below


def _retain(schema: Schema, patch: Json, new: Json) -> None:
    """Structures that hold one of several fields say which they keep, in whatever depth they were added."""
    for key, value in patch.items():
        field = schema.field(key)
        if field is not None and "retainKeys" in field.patch_strategy and isinstance(value, dict):
            value.setdefault("$retainKeys", sorted(new[key]))


def _list(field: Schema, key: str, versions: tuple[list[Any], list[Any], list[Any]]) -> Json:
    last, new, live = versions
    merge_key = field.patch_merge_key
    if not merge_key or any(not isinstance(item, dict) for item in [*new, *live]):
        return _primitives(key, last, new, live)
    known = {str(item.get(merge_key)): item for item in live}
    before = {str(item.get(merge_key)): item for item in last}
    items = field.items or ANYTHING
    changes: list[Json] = []
    for item in new:
        name = str(item.get(merge_key))
        if name not in known:
            changes.append(item)
            continue
        below = strategic(items, before.get(name) or {}, item, known[name])
        if below:
            if "retainKeys" in field.patch_strategy:
                below["$retainKeys"] = sorted(item)
            changes.append({**below, merge_key: item.get(merge_key)})
    wanted = {str(item.get(merge_key)) for item in new}
    gone = [name for name in before if name not in wanted and name in known]
    changes += [{"$patch": "delete", merge_key: before[name][merge_key]} for name in gone]
    if not changes:
        return {}
    order = [{merge_key: item.get(merge_key)} for item in new]
    return {f"$setElementOrder/{key}": order, key: changes}


def _primitives(key: str, last: list[Any], new: list[Any], live: list[Any]) -> Json:
    added = [item for item in new if item not in live]
    gone = [item for item in last if item not in new and item in live]
    if not added and not gone:
        return {}
    patch: Json = {f"$setElementOrder/{key}": new}
    if gone:
        patch[f"$deleteFromPrimitiveList/{key}"] = gone
    if added:
        patch[key] = added
    return patch


def of_change(schema: Schema | None, old: Json, new: Json) -> Json:
    """The patch that takes `old` to `new` where nobody else changes anything: of edits and the `set` verbs."""
    return merge_patch(old, new, old) if schema is None else strategic(schema, old, new, old)
