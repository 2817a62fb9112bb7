"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386).

Pure, but for `merge_patch_into`: a patch never changes or shares what it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from tiphys.api.bounds import bounded
from tiphys.api.errors import BadRequest, Invalid, RequestEntityTooLarge

MAX_OPERATIONS = 10_000
# Bytes that all copies of one patch may add up to: a few dozen that each copy the whole would fill the memory.
MAX_COPIED = 3 * 1024 * 1024

_MISSING = object()


def clone(value: Any) -> Any:
    """A deep copy of a JSON value."""
    return orjson.loads(orjson.dumps(value))


def merge_patch(obj: Any, patch: Any) -> Any:
    """`obj` with a merge patch applied: null removes a field, objects merge, all else replaces."""
    return merge_patch_into(clone(obj), patch)


def merge_patch_into(obj: Any, patch: Any) -> Any:
    """The same, made of `obj` itself."""
    return _merge(obj, clone(patch))


def _merge(target: Any, patch: Any) -> Any:
    if type(patch) is not dict:
        return patch
    if type(target) is not dict:
        target = {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif type(value) is dict:
            target[key] = _merge(target.get(key), value)
        else:
            target[key] = value
    return target


def json_patch(obj: Any, operations: Any) -> Any:
    """`obj` with the operations of a JSON patch applied, all or none.

    Raises BadRequest for what is no JSON patch, RequestEntityTooLarge for more than 10,000 operations, Invalid (422)
    for an operation that does not apply, and for copies that add up to more than 3 MiB.
    """
    if type(operations) is not list:
        raise BadRequest("error decoding patch: a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        why = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise RequestEntityTooLarge(f"Request entity too large: {why}")
    # Operations act on a member of this box, so that the root is a place like any other.
    box = {"": clone(obj)}
    copied = 0
    for operation in operations:
        copied += _apply(box, operation)
        if copied > MAX_COPIED:
            raise Invalid(
                f"Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit "
                f"{MAX_COPIED}"
            )
    # A patch may remove the root itself.
    return bounded(box.get(""))


def _apply(box: dict[str, Any], operation: Any) -> int:
    """Apply one operation; the bytes that it copied."""
    if type(operation) is not dict or type(operation.get("path")) is not str:
        raise BadRequest("error decoding patch: an operation is an object with op and path")
    name, path = operation.get("op"), operation["path"]
    if name in ("add", "replace", "test") and "value" not in operation:
        raise _refused(name, path, "the operation has no value")
    tokens = _tokens(path)
    if name == "add":
        _add(box, tokens, clone(operation["value"]), path)
    elif name == "remove":
        _remove(box, tokens, path)
    elif name == "replace":
        _replace(box, tokens, clone(operation["value"]), path)
    elif name == "test":
        _test(box, tokens, operation["value"], path)
    elif name in ("move", "copy"):
        return _transfer(box, tokens, operation)
    else:
        raise _refused(str(name), path, f"unexpected kind: {name}")
    return 0


def _transfer(box: dict[str, Any], tokens: list[str], operation: dict[str, Any]) -> int:
    path, source = operation["path"], operation.get("from")
    if type(source) is not str:
        raise BadRequest(f"error decoding patch: the operation {operation['op']} needs from")
    origin = _tokens(source)
    if operation["op"] == "copy":
        value = _read(_parent(box, origin, "copy", source), origin[-1])
        if value is _MISSING:
            raise _refused("copy", source, "there is no such value")
        data = orjson.dumps(value)
        _add(box, tokens, orjson.loads(data), path)
        return len(data)
    if tokens[: len(origin)] == origin and len(tokens) > len(origin):
        raise _refused("move", path, "a value cannot be moved into itself")
    _add(box, tokens, _remove(box, origin, source), path)
    return 0


def _refused(name: str, path: str, why: str) -> Invalid:
    head = "the server rejected our request due to an error in our request"
    return Invalid(f'{head}: {name} operation does not apply at "{path}": {why}')


def _tokens(path: str) -> list[str]:
    """A JSON pointer's tokens, below the box."""
    if path and path[0] != "/":
        raise BadRequest(f'error decoding patch: the path "{path}" does not begin with /')
    return [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")]


def _parent(box: Any, tokens: Sequence[str], name: str, path: str) -> Any:
    here = box
    for token in tokens[:-1]:
        here = _read(here, token)
        if type(here) is not dict and type(here) is not list:
            raise _refused(name, path, "there is no such parent")
    return here


def _read(parent: Any, token: str) -> Any:
    if type(parent) is dict:
        return parent.get(token, _MISSING)
    index = _index(token)
    return parent[index] if index is not None and index < len(parent) else _MISSING


def _index(token: str) -> int | None:
    if not token.isdecimal() or not token.isascii() or (token[0] == "0" and len(token) > 1):
        return None
    return int(token)


def _add(box: Any, tokens: list[str], value: Any, path: str) -> None:
    parent, last = _parent(box, tokens, "add", path), tokens[-1]
    if type(parent) is dict:
        parent[last] = value
        return
    index = len(parent) if last == "-" else _index(last)
    if index is None or index > len(parent):
        raise _refused("add", path, f'"{last}" is no index into a list of {len(parent)}')
    parent.insert(index, value)


def _remove(box: Any, tokens: list[str], path: str) -> Any:
    parent, last = _parent(box, tokens, "remove", path), tokens[-1]
    value = _read(parent, last)
    if value is _MISSING:
        raise _refused("remove", path, "there is no such value")
    del parent[last if type(parent) is dict else int(last)]
    return value


def _replace(box: Any, tokens: list[str], value: Any, path: str) -> None:
    parent, last = _parent(box, tokens, "replace", path), tokens[-1]
    if _read(parent, last) is _MISSING:
        raise _refused("replace", path, "there is no such value")
    parent[last if type(parent) is dict else int(last)] = value


def _test(box: Any, tokens: list[str], wanted: Any, path: str) -> None:
    found = _read(_parent(box, tokens, "test", path), tokens[-1])
    # As upstream, what is absent equals null.
    if not same(None if found is _MISSING else found, wanted):
        raise _refused("testing value", path, "the test failed")


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; unlike Python's ==, true is not 1."""
    if type(left) is not type(right):
        return type(left) in (int, float) and type(right) in (int, float) and left == right
    if type(left) is dict:
        return len(left) == len(right) and all(k in right and same(v, right[k]) for k, v in left.items())
    if type(left) is list:
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
