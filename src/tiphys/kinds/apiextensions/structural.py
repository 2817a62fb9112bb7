"""Structural schemas: every place has a type, and what is inside allOf, anyOf, oneOf and not only judges values.

Schemas are walked as they were written. Source: upstream's
`apiextensions-apiserver/pkg/apiserver/schema/{validation,complete,convert}.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api.errors import FieldError, forbidden, invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors

_PRESERVE, _EMBEDDED, _INT_OR_STRING = (
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
)  # fmt: skip
_EITHER = [{"type": "integer"}, {"type": "string"}]
_UNSUPPORTED = {
    "id": "id", "$schema": "schema", "$ref": "$ref", "patternProperties": "patternProperties",
    "dependencies": "dependencies", "additionalItems": "additionalItems", "definitions": "definitions",
}  # fmt: skip
# What must not be said inside a logical junction, and how the complaint begins.
_FORBIDDEN_INSIDE = {
    "type": "must be empty", "default": "must be undefined", "title": "must be empty", "description": "must be empty",
    "nullable": "must be false", _PRESERVE: "must be false", _EMBEDDED: "must be false",
    _INT_OR_STRING: "must be false",
    "x-kubernetes-list-map-keys": "must be empty", "x-kubernetes-list-type": "must be undefined",
    "x-kubernetes-map-type": "must be undefined", "x-kubernetes-validations": "must be empty",
}  # fmt: skip
_JUNCTIONS = ("anyOf", "allOf", "oneOf")


def children(schema: Json) -> Iterator[tuple[str, Json]]:
    """The schemas directly inside, the junctions included, with their paths relative to this one."""
    for name, child in sorted((schema.get("properties") or {}).items()):
        yield f".properties[{name}]", child
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), dict):
            yield f".{name}", schema[name]
    for name in _JUNCTIONS:
        for index, child in enumerate(schema.get(name) or ()):
            yield f".{name}[{index}]", child


def unconvertible(schema: Json) -> str:
    """Why the schema cannot be seen as structural at all; "" if it can."""
    for name, shown in _UNSUPPORTED.items():
        if schema.get(name):
            return f"OpenAPIV3Schema '{shown}' is not supported"
    if schema.get(_PRESERVE) is False:
        return f"internal error: '{_PRESERVE}' must be true or undefined"
    if isinstance(schema.get("items"), list):
        return "OpenAPIV3Schema 'items' must be a schema, but is an array"
    return next((why for _, child in children(schema) if (why := unconvertible(child))), "")


def check_structural(schema: Json, path: str) -> list[FieldError]:
    """Complaints about a schema, sorted by their text as upstream's are."""
    found = [*_invariants(schema, path, "root"), *_complete(schema, schema, path, path)]
    return sorted(found, key=str)


def _invariants(schema: Json, path: str, level: str) -> Errors:
    items, additional = schema.get("items"), schema.get("additionalProperties")
    if schema.get("type") == "array" and items is None:
        yield required(f"{path}.items", "must be specified")
    if items is not None:
        yield from _invariants(items, f"{path}.items", "item")
    for name, child in (schema.get("properties") or {}).items():
        yield from _invariants(child, f"{path}.properties[{name}]", "field")
    if additional is not None:
        if level == "root":
            yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
        if isinstance(additional, dict):
            yield from _invariants(additional, f"{path}.additionalProperties", "field")
    yield from _extensions(schema, path)
    all_of: list[Json] = schema.get("allOf") or []
    skip = "anyOf" if schema.get("anyOf") == _EITHER else ""
    skip_first = bool(all_of) and all_of[0].get("anyOf") == _EITHER
    yield from _values(schema, path, skip, skip_first=skip_first)
    yield from _type(schema, path, level)
    yield from _identity(schema, path, level)


def _extensions(schema: Json, path: str) -> Errors:
    if schema.get(_INT_OR_STRING):
        for name in (_PRESERVE, _EMBEDDED):
            if schema.get(name):
                yield invalid(f"{path}.{name}", True, f"must be false if {_INT_OR_STRING} is true")


def _type(schema: Json, path: str, level: str) -> Errors:
    kind = schema.get("type") or ""
    embedded = schema.get(_EMBEDDED)
    if embedded and kind != "object":
        told = f"must be object if {_EMBEDDED} is true"
        yield invalid(f"{path}.type", kind, told) if kind else required(f"{path}.type", told)
    elif not kind and not schema.get(_INT_OR_STRING) and not schema.get(_PRESERVE):
        where = {"root": "at the root", "item": "for specified array items", "field": "for specified object fields"}
        yield required(f"{path}.type", f"must not be empty {where[level]}")
    if embedded and schema.get("additionalProperties") is not None:
        yield forbidden(f"{path}.additionalProperties", f"must not be used if {_EMBEDDED} is set")
    if level == "root" and kind and kind != "object":
        yield invalid(f"{path}.type", kind, "must be object at the root")


def _identity(schema: Json, path: str, level: str) -> Errors:
    """kind, apiVersion and metadata of what is a resource."""
    properties: Json = schema.get("properties") or {}
    is_resource = level == "root" or bool(schema.get(_EMBEDDED))
    for name in ("kind", "apiVersion"):
        if is_resource and name in properties and properties[name].get("type") != "string":
            yield invalid(f"{path}.properties[{name}].type", properties[name].get("type") or "", "must be string")
    metadata = properties.get("metadata")
    if metadata is not None:
        where = f"{path}.properties[metadata]"
        if is_resource and metadata.get("type") != "object":
            yield invalid(f"{where}.type", metadata.get("type") or "", "must be object")
        if level == "root" and _says_more(metadata):
            told = "must not specify anything other than name and generateName, but metadata is implicitly specified"
            yield forbidden(where, told)
    if schema.get(_EMBEDDED) and not schema.get(_PRESERVE) and not properties:
        told = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
        yield required(f"{path}.properties", told)


def _says_more(metadata: Json) -> bool:
    """Whether the root's metadata is narrowed in more than its names."""
    rest = {name: value for name, value in metadata.items() if name not in ("type", "default") and not _is_zero(value)}
    if set(rest.get("properties") or ()) <= {"name", "generateName"}:
        rest.pop("properties", None)
    return bool(rest)


def _is_zero(value: Any) -> bool:
    """Whether Go would not tell the value from an absent one."""
    return value is None or value is False or value in ("", [], {})


def _values(schema: Json, path: str, skip: str = "", *, skip_first: bool = False) -> Errors:
    """The value validation of a schema: its junctions and its pattern."""
    for name in _JUNCTIONS:
        for index, part in enumerate(schema.get(name) or ()):
            if name != skip:
                inner = "anyOf" if skip_first and name == "allOf" and not index else ""
                yield from _nested(part, f"{path}.{name}[{index}]", inner)
    if schema.get("not"):
        yield from _nested(schema["not"], f"{path}.not")
    if schema.get("pattern"):
        yield from _pattern(schema["pattern"], f"{path}.pattern")


def _pattern(pattern: str, path: str) -> Errors:
    # Only definitions with patterns load the library.
    from tiphys.api.cel.errors import EvalError
    from tiphys.api.cel.regexes import compiled

    try:
        compiled(pattern)
    except EvalError as error:
        yield invalid(path, pattern, f"must be a valid regular expression, but isn't: {error}")


def _nested(schema: Json, path: str, skip: str = "") -> Errors:
    """A schema inside of a junction."""
    yield from _values(schema, path, skip)
    if isinstance(schema.get("items"), dict):
        yield from _nested(schema["items"], f"{path}.items")
    for name, child in (schema.get("properties") or {}).items():
        yield from _nested(child, f"{path}.properties[{name}]")
    if schema.get("additionalProperties"):
        yield forbidden(f"{path}.additionalProperties", "must be undefined to be structural")
    for name, told in _FORBIDDEN_INSIDE.items():
        said = schema.get(name) is not None if name == "default" else not _is_zero(schema.get(name))
        if said:
            yield forbidden(f"{path}.{name}", f"{told} to be structural")
    if "metadata" in (schema.get("properties") or ()):
        yield forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")


def _complete(values: Json, schema: Json | None, at: str, path: str) -> Errors:
    """What `values`, at `path`, judges must be declared by `schema`, at `at`, outside of any junction."""
    if schema is None:
        yield required(at, f"because it is defined in {path}")
        return
    for name in ("not", "allOf", "anyOf", "oneOf"):
        parts = [values[name]] if name == "not" and values.get("not") else values.get(name) or ()
        for index, part in enumerate(parts):
            yield from _complete_inside(part, schema, at, f"{path}.not" if name == "not" else f"{path}.{name}[{index}]")


def _complete_inside(values: Json, schema: Json | None, at: str, path: str) -> Errors:
    if schema is None:
        yield required(at, f"because it is defined in {path}")
        return
    yield from _complete(values, schema, at, path)
    if isinstance(values.get("items"), dict):
        yield from _complete_inside(values["items"], schema.get("items"), f"{at}.items", f"{path}.items")
    declared = schema.get("properties") or {}
    for name, child in (values.get("properties") or {}).items():
        inside = f".properties[{name}]"
        yield from _complete_inside(child, declared.get(name), at + inside, path + inside)
