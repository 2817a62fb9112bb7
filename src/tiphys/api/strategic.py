"""Strategic merge patch: merging by the schema's patch strategies and merge keys, with the directives of kubectl.

A patch may hold `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/FIELD` and
`$deleteFromPrimitiveList/FIELD`. Items that the patch names come in its order, others keep their place before them.
Source: https://github.com/kubernetes/community/blob/main/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiphys.api.errors import BadRequest, Invalid
from tiphys.api.patch import clone
from tiphys.api.schema import ANYTHING, Schema

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"

Json = dict[str, Any]


def strategic_patch(schema: Schema, obj: Json, patch: Any) -> Json:
    """`obj` with a strategic merge patch applied; a new object that shares nothing with either.

    Raises BadRequest for a patch whose form is wrong, Invalid (422) for an unknown directive.
    """
    return strategic_patch_into(schema, clone(obj), patch)


def strategic_patch_into(schema: Schema, obj: Json, patch: Any) -> Json:
    """The same, made of `obj` itself."""
    if type(patch) is not dict:
        raise BadRequest("a strategic merge patch must be a JSON object")
    return _merge_map(schema, obj, clone(patch))


def _merge_map(schema: Schema, original: Json, patch: Json) -> Json:
    """Merge `patch` into `original`, consuming both."""
    directive = patch.pop(_PATCH, None)
    if directive == "replace":
        return _settled_map(patch)
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise _unknown(directive)
    retained = patch.pop(_RETAIN, None)
    if retained is not None:
        _retain(original, patch, retained)
    for key in [key for key in patch if key.startswith("$")]:
        if key.startswith(_ORDER):
            _order(schema, original, patch, key)
    for key, value in patch.items():
        if key.startswith(_DELETE):
            _delete_primitives(original, key[len(_DELETE) :], value)
        elif value is None:
            original.pop(key, None)
        elif key not in original:
            original[key] = _settled(value)
        else:
            original[key] = _merge_value(schema.field(key) or ANYTHING, original[key], value)
    return original


def _unknown(directive: Any) -> Invalid:
    return Invalid(f"unknown patch type found: {directive}")


def _merge_value(field: Schema, original: Any, patch: Any) -> Any:
    if type(patch) is dict and type(original) is dict:
        if "replace" in field.patch_strategy:
            return _settled_map(patch)
        return _merge_map(field, original, patch)
    if type(patch) is list and type(original) is list and "merge" in field.patch_strategy:
        return _merge_list(field, original, patch)
    return _settled(patch)


def _retain(original: Json, patch: Json, retained: Any) -> None:
    if type(retained) is not list:
        raise BadRequest(f"invalid patch format of {_RETAIN}: it must be a list")
    for key, value in patch.items():
        if value is not None and not key.startswith("$") and key not in retained:
            raise BadRequest(f"invalid patch format of {_RETAIN}: the patch sets {key}, which the list does not retain")
    for key in [key for key in original if key not in retained]:
        del original[key]


def _delete_primitives(original: Json, key: str, values: Any) -> None:
    if type(values) is not list or any(type(value) is dict for value in values):
        raise BadRequest(f"invalid patch format of primitive list: {_DELETE}{key}")
    if type(original.get(key)) is list:
        original[key] = [value for value in original[key] if value not in values]


def _order(schema: Schema, original: Json, patch: Json, directive: str) -> None:
    """Merge the list that `directive` orders, then bring it into that order; its keys leave the patch."""
    order = patch.pop(directive)
    key = directive[len(_ORDER) :]
    field = schema.field(key) or ANYTHING
    if type(order) is not list:
        raise BadRequest(f"invalid patch format of setElementOrder list: {key}")
    server = original.get(key)
    changes = patch.get(key)
    if changes is None and key in patch:
        return
    patch.pop(key, None)
    merge_key = field.patch_merge_key
    current = server if type(server) is list else []
    merged = current
    if changes:
        _check_order(changes, order, merge_key, key)
        merged = _merge_list(field, list(current), changes)
        current = _places(current, changes, merge_key)
    if merged or type(server) is list:
        original[key] = _arranged(merged, order, current, merge_key)


def _places(current: list[Any], changes: list[Any], merge_key: str) -> list[Any]:
    """The order of the live list for what the order does not name. As upstream, additions fill what deletions free."""
    gone = {_identity(item, merge_key) for item in changes if type(item) is dict and item.get(_PATCH) == "delete"}
    kept = [item for item in current if _identity(item, merge_key) not in gone]
    known = {_identity(item, merge_key) for item in current}
    added = [item for item in changes if _identity(item, merge_key) not in known]
    return kept + added[: len(current) - len(kept)]


def _check_order(changes: list[Any], order: list[Any], merge_key: str, key: str) -> None:
    """What the patch adds or changes must appear in the order, and in that order."""
    ranks = {_identity(item, merge_key): rank for rank, item in enumerate(order)}
    live = [item for item in changes if type(item) is not dict or item.get(_PATCH) is None]
    found = [ranks.get(_identity(item, merge_key), -1) for item in live]
    if -1 in found or found != sorted(found):
        raise BadRequest(f"The order in patch list:\n{live}\n doesn't match {_ORDER}{key} list:\n{order}\n")


def _identity(item: Any, merge_key: str) -> str:
    """What makes two items of a list the same."""
    return str(item.get(merge_key) if type(item) is dict else item)


def _merge_list(field: Schema, original: list[Any], patch: list[Any]) -> list[Any]:
    if not original and not patch:
        return original
    sample = original[0] if original else patch[0]
    if type(sample) is not dict:
        merged = list(dict.fromkeys([*original, *patch]))
        return _arranged(merged, patch, original, "")
    merge_key = field.patch_merge_key
    if not merge_key:
        raise BadRequest(f"cannot merge lists without merge key for {field.go}")
    original, patch = _special_items(original, patch, merge_key)
    return _arranged(_merge_items(field, original, patch), patch, original, merge_key)


def _special_items(original: list[Any], patch: list[Any], merge_key: str) -> tuple[list[Any], list[Any]]:
    """Obey the items of a patch that are directives; returns what is left of both lists."""
    ordinary = []
    replace = False
    for item in patch:
        if type(item) is not dict:
            raise BadRequest(f"invalid list item in patch: {item!r} is not an object")
        directive = item.get(_PATCH)
        if directive is None:
            ordinary.append(item)
        elif directive == "replace":
            replace = True
        elif directive == "delete":
            _require_key(item, merge_key)
            gone = _identity(item, merge_key)
            original = [old for old in original if _identity(old, merge_key) != gone]
        else:
            raise _unknown(directive)
    return ([] if replace else original), ordinary


def _require_key(item: Json, merge_key: str) -> None:
    if merge_key not in item:
        raise BadRequest(f"map: {item} does not contain declared merge key: {merge_key}")


def _merge_items(field: Schema, original: list[Any], patch: list[Any]) -> list[Any]:
    merge_key = field.patch_merge_key
    merged = list(original)
    # The first of several equal items is the one that a patch changes.
    places: dict[str, int] = {}
    for place, item in enumerate(merged):
        places.setdefault(_identity(item, merge_key), place)
    for item in patch:
        _require_key(item, merge_key)
        identity = _identity(item, merge_key)
        at = places.get(identity)
        if at is None:
            places[identity] = len(merged)
            merged.append(_settled_map(item))
        else:
            merged[at] = _merge_map(field.items or ANYTHING, merged[at], dict(item))
    return merged


def _arranged(merged: list[Any], order: Sequence[Any], server: Sequence[Any], merge_key: str) -> list[Any]:
    """Items named in `order` come in that order; the others go before the first that follows them in `server`."""
    wanted = {_identity(item, merge_key): rank for rank, item in reversed(list(enumerate(order)))}
    ranks = {_identity(item, merge_key): rank for rank, item in reversed(list(enumerate(server)))}
    named = [item for item in merged if _identity(item, merge_key) in wanted]
    named.sort(key=lambda item: wanted[_identity(item, merge_key)])
    others = [item for item in merged if _identity(item, merge_key) not in wanted]
    arranged = []
    at = 0
    for item in named:
        bound = ranks.get(_identity(item, merge_key), -1)
        while at < len(others) and 0 <= ranks.get(_identity(others[at], merge_key), -1) < bound:
            arranged.append(others[at])
            at += 1
        arranged.append(item)
    return arranged + others[at:]


def _settled(value: Any) -> Any:
    """A patch's value where there is nothing to merge with: without nulls and directives."""
    if type(value) is dict:
        return _settled_map(value)
    if type(value) is list:
        return [_settled(item) for item in value if type(item) is not dict or item.get(_PATCH) in (None, "merge")]
    return value


def _settled_map(value: Json) -> Json:
    return {
        key: _settled(child)
        for key, child in value.items()
        if child is not None
        and key not in (_PATCH, _RETAIN)
        and not key.startswith(_ORDER)
        and not key.startswith(_DELETE)
    }
