"""What a mutation makes of an object: an apply configuration laid over it, or a JSON patch.

Source: upstream's `apiserver/pkg/admission/plugin/policy/mutating/patch/{smd,json_patch}.go`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from tiphys.api import errors, patch
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.library.mutation import check_names
from tiphys.api.cel.library.standard import show_double
from tiphys.api.cel.temporal import show_duration, show_timestamp
from tiphys.api.cel.values import Duration, Optional, Timestamp, Typed
from tiphys.api.merge import merge
from tiphys.api.policies.compiled import PolicyError
from tiphys.api.schema import ANYTHING, Schema

Json = dict[str, Any]


def plain(value: Any) -> Any:
    """A value of the language as JSON. Raises EvalError for what JSON cannot hold."""
    if isinstance(value, dict):
        return {key if type(key) is str else _key(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if value is None or type(value) in (str, bool, int, float):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Timestamp):
        return show_timestamp(value)
    if isinstance(value, Duration):
        return show_duration(value)
    if isinstance(value, Optional) and value.present:
        return plain(value.value)
    raise EvalError(f"a value of type {type(value).__name__} cannot be part of an object")


def _key(key: Any) -> str:
    return "true" if key is True else "false" if key is False else show_double(float(key)).removesuffix(".0")


def apply_configuration(schema: Schema | None, obj: Json, made: Any) -> Json:
    """A copy of `obj` with the configuration laid over it. Raises PolicyError."""
    try:
        check_names(made)
        wanted = plain(made)
    except EvalError as error:
        raise PolicyError(f"type mismatch: {error}") from None
    node = schema or ANYTHING
    atomics = list(_atomics(node, wanted, ""))
    if atomics:
        why = f"may not mutate atomic arrays, maps or structs: {', '.join(atomics)}"
        raise PolicyError(f"error applying patch: invalid ApplyConfiguration: {why}")
    merged: Json = merge(node, patch.clone(obj), wanted)
    return merged


def _atomics(node: Schema, value: Any, path: str) -> Iterator[str]:
    """The lists, maps and structs in `value` that are only ever replaced as a whole."""
    if not isinstance(value, (dict, list)):
        return
    if node.atomic and path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in node.properties:
                yield from _atomics(node.properties[key], inner, f"{path}.{key}")
    elif node.items is not None:
        for index, item in enumerate(value):
            yield from _atomics(node.items, item, f"{path}[{index}]")


def json_patch(obj: Json, made: list[Any]) -> Json:
    """A copy of `obj`, patched; as it was where a `test` operation fails. Raises PolicyError."""
    operations: list[Json] = []
    for operation in made:
        if not isinstance(operation, Typed):
            raise PolicyError("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch")
        try:
            value = operation.get("value")
            if isinstance(value, Typed):
                check_names(value, value.cel_type.name)
            operations.append(plain(operation))
        except EvalError as error:
            raise PolicyError(f"type mismatch: {error}") from None
    try:
        patched: Json = patch.json_patch(obj, operations)
    except errors.ApiError as error:
        if any(operation.get("op") == "test" for operation in operations) and _test_fails(obj, operations):
            return obj
        raise PolicyError(f"JSON Patch: {error}") from None
    return patched


def _test_fails(obj: Json, operations: list[Json]) -> bool:
    """Whether it is a test that stops the patch: everything before the operation that fails goes well."""
    for count, operation in enumerate(operations):
        try:
            patch.json_patch(obj, operations[: count + 1])
        except errors.ApiError:
            return operation.get("op") == "test"
    return False
