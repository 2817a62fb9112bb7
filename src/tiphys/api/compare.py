"""What of an object changed, and what a piece of it owns, as field sets: structured merge and diff by schema.

Atomic lists and maps are leaves. Associative lists are keyed by `k:{...}`, sets by `v:...`. Where no schema is known,
maps are merged by key and lists are leaves.
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tiphys.api import schema as s
from tiphys.api.fieldset import SELF, FieldSet
from tiphys.api.schema import ANYTHING, Schema

LEAF, GRANULAR, ASSOCIATIVE = range(3)
_SORTED = orjson.OPT_SORT_KEYS
_EMPTY: Mapping[str, Any] = {}


def shape(node: Schema, value: Any) -> int:
    """How `value` merges: as a LEAF, key by key (GRANULAR), or item by item (ASSOCIATIVE)."""
    code = node.code
    if code <= s.BOOLEAN:
        return LEAF
    if type(value) is dict:
        return GRANULAR if code in (s.OBJECT, s.MAP, s.ANY) and node.map_type != "atomic" else LEAF
    return ASSOCIATIVE if type(value) is list and code == s.ARRAY and node.list_type in ("map", "set") else LEAF


def item_key(node: Schema, item: Any) -> str:
    """The element of a path that names `item` in the associative list `node`; absent keys count by their defaults."""
    keys = node.list_map_keys
    if not keys or type(item) is not dict:
        return "v:" + orjson.dumps(item, option=_SORTED).decode()
    fields = node.items.properties if node.items is not None else _EMPTY
    found = {}
    for key in keys:
        value = item.get(key)
        if value is None and key in fields:
            value = fields[key].default
        if value is not None:
            found[key] = value
    return "k:" + orjson.dumps(found).decode()


def by_key(node: Schema, items: Iterable[Any]) -> dict[str, Any]:
    """The items of an associative list by their keys. Items that share a key are one value, the list of them."""
    found: dict[str, Any] = {}
    for item in items:
        key = item_key(node, item)
        if key in found:
            earlier = found[key]
            item = [*earlier, item] if type(earlier) is list else [earlier, item]
        found[key] = item
    return found


def applied_set(node: Schema, obj: Mapping[str, Any]) -> FieldSet:
    """The fields that an applied configuration claims: its leaves, keys of maps, and items of lists."""
    out: FieldSet = {}
    fields = node.properties
    for key, value in obj.items():
        known = fields.get(key)
        claimed = _claimed(known or node.additional or ANYTHING, value)
        if known is None and claimed != {}:
            claimed = {SELF: {}, **(claimed or {})} if claimed else {}
        if claimed is not None:
            out["f:" + key] = claimed
    return out


def _claimed(node: Schema, value: Any) -> FieldSet | None:
    """The node of the set for one value; None where there is nothing to claim."""
    how = shape(node, value)
    if how == LEAF:
        return {}
    if how == GRANULAR:
        return applied_set(node, value)
    out: FieldSet = {}
    element = node.items or ANYTHING
    for key, item in by_key(node, value).items():
        claimed = _claimed(element, item)
        out[key] = {SELF: {}, **claimed} if claimed else {}
    return out or None


def owned_set(node: Schema, value: Any) -> FieldSet:
    """The node of the set for a value that is new as a whole: every container belongs to it, too."""
    how = shape(node, value)
    if how == LEAF or not value:
        return {}
    out: FieldSet = {SELF: {}}
    if how == GRANULAR:
        fields, other = node.properties, node.additional or ANYTHING
        for key, child in value.items():
            known = fields.get(key, other)
            # Most values are scalars; the call would cost more than all the rest.
            out["f:" + key] = {} if known.code <= s.BOOLEAN else owned_set(known, child)
        return out
    element = node.items or ANYTHING
    for key, item in by_key(node, value).items():
        out[key] = owned_set(element, item)
    return out


@dataclass(slots=True)
class Changes:
    """How a new object differs from an old one."""

    added: FieldSet = field(default_factory=dict)
    modified: FieldSet = field(default_factory=dict)
    removed: FieldSet = field(default_factory=dict)


def compare(node: Schema, old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """Every field of `new` that `old` lacks or has otherwise, and every field that only `old` has."""
    changes = Changes()
    _compare_maps(node, old, new, changes)
    return changes


def _compare_maps(node: Schema, old: Mapping[str, Any], new: Mapping[str, Any], out: Changes) -> None:
    fields, other = node.properties, node.additional or ANYTHING
    shared = 0
    for key, value in new.items():
        known = fields.get(key, other)
        if key in old:
            shared += 1
            before = old[key]
            if before is value or before == value:
                continue
        elif known.inline:
            before = [] if type(value) is list else {}
        else:
            out.added["f:" + key] = owned_set(known, value)
            continue
        _compare("f:" + key, known, (before, value), out)
    if shared == len(old):
        return
    for key, value in old.items():
        if key not in new:
            out.removed["f:" + key] = owned_set(fields.get(key, other), value)


def _compare(key: str, node: Schema, values: tuple[Any, Any], out: Changes) -> None:
    """Compare two values that both exist and differ (or of which the first is an inline struct's emptiness)."""
    before, after = values
    how = shape(node, after)
    if how == LEAF or type(before) is not type(after):
        if before != after:
            out.modified[key] = {}
        return
    below = Changes()
    if how == GRANULAR:
        _compare_maps(node, before, after, below)
    else:
        _compare_items(node, before, after, below)
    if below.added:
        out.added[key] = below.added
    if below.modified:
        out.modified[key] = below.modified
    if below.removed:
        out.removed[key] = below.removed


def _compare_items(node: Schema, old: list[Any], new: list[Any], out: Changes) -> None:
    before, after = by_key(node, old), by_key(node, new)
    element = node.items or ANYTHING
    for key, item in after.items():
        if key not in before:
            out.added[key] = owned_set(element, item)
        elif before[key] != item:
            _compare(key, element, (before[key], item), out)
    for key, item in before.items():
        if key not in after:
            out.removed[key] = owned_set(element, item)
