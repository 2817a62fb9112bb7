"""Merging an applied configuration into a live object, and removing fields from one: the values of server-side apply.

Everything here works on objects that the caller owns and may give back parts of them.
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api.compare import ASSOCIATIVE, GRANULAR, LEAF, by_key, item_key, shape
from tiphys.api.fieldset import SELF, FieldSet, element, is_member
from tiphys.api.schema import ANYTHING, Schema


def merge(node: Schema, live: Any, applied: Any) -> Any:
    """`applied` laid over `live`: leaves are replaced, maps merge by key, associative lists by item."""
    how = shape(node, applied)
    if how == LEAF or type(live) is not type(applied):
        return applied
    if how == ASSOCIATIVE:
        return _merge_items(node, live, applied)
    for key, value in applied.items():
        live[key] = merge(node.field(key) or ANYTHING, live[key], value) if key in live else value
    return live


def _merge_items(node: Schema, live: list[Any], applied: list[Any]) -> list[Any]:
    """Applied items keep their order among each other; live items stay before the shared item that follows them."""
    item_schema = node.items or ANYTHING
    ours = by_key(node, applied)
    theirs = by_key(node, live)
    shared = [key for key in ours if key in theirs]
    left, right = list(theirs), list(ours)
    out: list[Any] = []
    done = set()
    at_left = at_right = 0
    while at_left < len(left) or at_right < len(right):
        if at_left < len(left):
            key = left[at_left]
            if key not in ours:
                _put(out, theirs[key])
                at_left += 1
                continue
            waits_for_another = bool(shared) and shared[0] != key
            if key in done or (waits_for_another and at_right < len(right)):
                at_left += 1
                continue
        key = right[at_right]
        out.append(merge(item_schema, theirs[key], ours[key]) if key in theirs else ours[key])
        done.add(key)
        at_right += 1
        if shared and shared[0] == key:
            del shared[0]
    return out


def _put(out: list[Any], item: Any) -> None:
    """Append a live item, or all that share its key."""
    if type(item) is list:
        out.extend(item)
    else:
        out.append(item)


def remove(node: Schema, value: Any, fields: FieldSet) -> Any:
    """`value` without `fields`; what is emptied but not itself among them stays, empty."""
    how = shape(node, value)
    if how == GRANULAR:
        for key in list(value):
            gone = fields.get("f:" + key)
            if gone is None:
                continue
            if is_member(gone):
                del value[key]
            else:
                value[key] = remove(node.field(key) or ANYTHING, value[key], gone)
    elif how == ASSOCIATIVE:
        kept = []
        for item in value:
            gone = fields.get(item_key(node, item))
            if gone is None:
                kept.append(item)
            elif not is_member(gone):
                kept.append(remove(node.items or ANYTHING, item, gone))
        return kept
    return value


def with_structs(node: Schema | None, fields: FieldSet) -> FieldSet:
    """The set with every declared field made a member that has members below it."""
    out: FieldSet = {}
    for key, below in fields.items():
        child = _child(node, key)
        deeper = with_structs(child, below) if below else below
        declared = key[:2] == "f:" and node is not None and key[2:] in node.properties
        out[key] = {SELF: {}, **deeper} if deeper and declared and SELF not in deeper else deeper
    return out


def _child(node: Schema | None, key: str) -> Schema | None:
    if node is None or key == SELF:
        return None
    return node.field(key[2:]) if key[:2] == "f:" else node.items


def duplicates(node: Schema, value: Any, path: str = "") -> Iterator[str]:
    """`PATH: duplicate entries for key [...]` for each associative list of `value` that names an item twice."""
    how = shape(node, value)
    if how == GRANULAR:
        for key, child in value.items():
            yield from duplicates(node.field(key) or ANYTHING, child, f"{path}.{key}")
    elif how == ASSOCIATIVE:
        for key, item in by_key(node, value).items():
            shown = element(key)
            if key == "k:{}":
                yield f"{path}: associative list with keys has an element that omits all key fields"
            elif type(item) is list:
                yield f"{path}: duplicate entries for key {shown}"
            else:
                yield from duplicates(node.items or ANYTHING, item, path + shown)
