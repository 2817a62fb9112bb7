"""What mutating policies make: `Object{spec: Object.spec{replicas: 3}}`, `JSONPatch{op: "add", path: ..., value: 1}`.

Source: upstream's `apiserver/pkg/cel/mutation` and `library/jsonpatch.go`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.cel import costs
from tiphys.api.cel import types as t
from tiphys.api.cel.declare import Library
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.values import Typed

OBJECT = t.Struct("Object", open_fields=lambda name: t.DYN, nulls=True)
JSON_PATCH = t.Struct(
    "JSONPatch",
    {
        **{name: t.Field(name, t.STRING) for name in ("op", "path", "from")},
        "value": t.Field("value", t.DYN),
    },
    nulls=True,
)
MUTATION = Library()
MUTATION.add(
    "string_jsonpatch_escapeKey_string",
    "jsonpatch.escapeKey(string) string",
    lambda key: key.replace("~", "~0").replace("/", "~1"),
    costs.traverse,
)


def resolve_kind(name: str) -> t.Type | None:
    """The type of a struct by its name: every path below Object is one."""
    if name == "Object":
        return OBJECT
    if name == "JSONPatch":
        return JSON_PATCH
    if name.startswith("Object."):
        return t.Struct(name, open_fields=lambda field: t.DYN, nulls=True)
    return None


def check_names(value: Any, path: str = "Object") -> None:
    """Objects must be named for where they stand: `Object.spec` in the field `spec`. Raises EvalError."""
    if isinstance(value, Typed):
        name = value.cel_type.name
        if name != path:
            where = "which matches field name path from root Object type"
            raise EvalError(f'unexpected type name "{name}", expected "{path}", {where}')
    if isinstance(value, dict):
        for key, inner in value.items():
            check_names(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            check_names(inner, path)
