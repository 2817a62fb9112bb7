"""FieldsV1: sets of fields of an object, as managedFields holds them.

A set is kept in the form that the API shows: a trie of dicts whose keys are `f:NAME`, `k:{KEYS}`, `v:VALUE` and
`i:INDEX`. A node without children is a member of the set; a node with children is one if it has the child `.`. The root
is never a member. Sets are values: no function here changes one, and results may share parts with what they came from.
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

FieldSet = dict[str, Any]

SELF = "."

# What no manager owns: the identity of the object and what the server alone writes.
_UNOWNED_METADATA = frozenset(
    f"f:{name}"
    for name in (
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
        "resourceVersion",
    )
)  # fmt: skip


def is_member(node: FieldSet) -> bool:
    """Whether the field at `node` itself belongs to the set."""
    return not node or SELF in node


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    if not left or not right:
        return left or right
    out = dict(left)
    for key, theirs in right.items():
        ours = out.get(key)
        if ours is None:
            out[key] = theirs
        elif key != SELF and ours != theirs:
            merged = union(ours, theirs)
            if SELF not in merged and (not ours or not theirs):
                merged = {SELF: {}, **merged}
            out[key] = merged
    return out


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """Fields of `left` that are not in `right`; having a field in `right` says nothing about those below it."""
    out: FieldSet = {}
    for key, ours in left.items():
        if key == SELF:
            continue
        theirs = right.get(key)
        if theirs is None:
            out[key] = ours
            continue
        below = difference(ours, theirs)
        if is_member(ours) and not is_member(theirs):
            out[key] = {SELF: {}, **below} if below else below
        elif below:
            out[key] = below
    return out


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    out: FieldSet = {}
    for key, ours in left.items():
        theirs = right.get(key)
        if theirs is None or key == SELF:
            continue
        below = intersection(ours, theirs)
        if is_member(ours) and is_member(theirs):
            out[key] = {SELF: {}, **below} if below else below
        elif below:
            out[key] = below
    return out


def strip(fields: FieldSet) -> FieldSet:
    """The set without what no manager owns: apiVersion, kind, and the server's part of metadata."""
    out = {key: node for key, node in fields.items() if key not in ("f:apiVersion", "f:kind")}
    metadata = out.pop("f:metadata", None)
    if metadata:
        kept = {key: node for key, node in metadata.items() if key != SELF and key not in _UNOWNED_METADATA}
        if kept:
            out["f:metadata"] = kept
    return out


def serialise(fields: FieldSet) -> FieldSet:
    """The set with its keys in order: equal sets are equal bytes."""
    if len(fields) < 2:
        return {key: serialise(node) if node else node for key, node in fields.items()}
    return {key: serialise(node) if node else node for key, node in sorted(fields.items())}


def parse(fields: Any) -> FieldSet:
    """The set that a `fieldsV1` holds. Raises ValueError for what is no set."""
    if type(fields) is not dict:
        raise ValueError("fieldsV1 must be an object")
    for key, node in fields.items():
        if key != SELF and key[:2] not in ("f:", "k:", "v:", "i:"):
            raise ValueError(f'fieldsV1 holds "{key}", which is none of ".", "f:", "k:", "v:", "i:"')
        parse(node)
    return fields


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """The members as upstream prints them: `.spec.containers[name="web"].image`."""
    for key, node in fields.items():
        if key == SELF:
            continue
        path = prefix + element(key)
        if is_member(node):
            yield path
        yield from paths(node, path)


def element(key: str) -> str:
    """One key of the trie as upstream prints it in a path."""
    kind, text = key[:2], key[2:]
    if kind == "f:":
        return f".{text}"
    if kind == "k:":
        pairs = orjson.loads(text).items()
        return "[" + ",".join(f"{name}={orjson.dumps(value).decode()}" for name, value in pairs) + "]"
    return f"[={text}]" if kind == "v:" else f"[{text}]"
