"""What a definition's schema may say, besides being structural: keywords, list and map types, properties.

Source: upstream's `apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tiphys.api.errors import FieldError, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.apiextensions.structural import children
from tiphys.kinds.checks import Errors

TYPES = ("array", "boolean", "integer", "number", "object", "string")
_IDENTITY = ("metadata", "kind", "apiVersion")
_LIST_TYPE, _MAP_KEYS, _MAP_TYPE = "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"
_PRESERVE, _EMBEDDED = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
# With a status subresource, the root may only say what still holds when the status is judged alone.
_ROOT_WITH_STATUS = {
    "description": "Description", "type": "Type", "format": "Format", "title": "Title", "maximum": "Maximum",
    "exclusiveMaximum": "ExclusiveMaximum", "minimum": "Minimum", "exclusiveMinimum": "ExclusiveMinimum",
    "maxLength": "MaxLength", "minLength": "MinLength", "pattern": "Pattern", "maxItems": "MaxItems",
    "minItems": "MinItems", "uniqueItems": "UniqueItems", "multipleOf": "MultipleOf", "required": "Required",
    "items": "Items", "properties": "Properties", "externalDocs": "ExternalDocs", "example": "Example",
    _PRESERVE: "XPreserveUnknownFields", "x-kubernetes-validations": "XValidations",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the walk is. `no_default` says why there may be no default; `in_meta` that a resource's identity is."""

    path: str
    no_default: str = ""
    in_meta: bool = False
    root: bool = False


def check_root(schema: Json, path: str, *, status: bool) -> Errors:
    """What only the root of a schema must observe."""
    if status:
        for name, value in schema.items():
            if value in (None, "", False, [], {}):
                continue
            if name == "type" and value != "object":
                told = 'only "object" is allowed as the type at the root of the schema if'
                yield invalid(f"{path}.type", value, f"{told} the status subresource is enabled")
                break
            if name not in _ROOT_WITH_STATUS:
                allowed = f"[{' '.join(_ROOT_WITH_STATUS.values())}]"
                told = (
                    f"only {allowed} fields are allowed at the root of the schema if the status subresource is enabled"
                )
                yield invalid(path, schema, told)
                break
    if schema.get("nullable"):
        yield forbidden(f"{path}.nullable", "nullable cannot be true at the root")


def check_schema(schema: Json, path: str) -> Iterator[FieldError]:
    """Complaints about the whole schema at `path`."""
    yield from _check(schema, _Place(path, root=True))


def _check(schema: Json, place: _Place) -> Errors:
    yield from _keywords(schema, place)
    path, inner = place.path, replace(place, root=False)
    additional, properties = schema.get("additionalProperties"), schema.get("properties") or {}
    if additional is not None and additional is not True and properties:
        yield forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    for step, child in children(schema):
        where = replace(inner, path=path + step)
        if step == ".additionalProperties" and place.in_meta:
            where = replace(where, no_default="inside additionalProperties applying to object metadata")
        yield from _check(child, _of_identity(where, schema, step, root=place.root))
    yield from _preserve(schema, path)
    yield from _map_type(schema, path)
    yield from _list_type(schema, path)
    yield from _map_list(schema, path)
    yield from _correlatable(schema, path)


def _of_identity(place: _Place, schema: Json, step: str, *, root: bool) -> _Place:
    for name in _IDENTITY:
        if step == f".properties[{name}]" and (root or schema.get(_EMBEDDED)):
            why = f"in top-level {name}" if root else place.no_default
            return replace(place, in_meta=True, no_default=why)
    return place


def _keywords(schema: Json, place: _Place) -> Errors:
    path, kind = place.path, schema.get("type") or ""
    if kind and kind not in TYPES:
        yield not_supported(f"{path}.type", kind, TYPES)
    if schema.get("default") is not None and place.no_default:
        yield forbidden(f"{path}.default", f"must not be set {place.no_default}")
    for name in _UNSUPPORTED:
        if schema.get(name) not in (None, "", {}):
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if kind == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(schema.get("items"), list) and schema["items"]:
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    if place.in_meta and schema.get(_EMBEDDED):
        yield forbidden(f"{path}.{_EMBEDDED}", "must not be used inside of resource meta")
    if schema.get("uniqueItems"):
        told = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(f"{path}.uniqueItems", told)


def _preserve(schema: Json, path: str) -> Errors:
    if schema.get(_PRESERVE) is False:
        yield invalid(f"{path}.{_PRESERVE}", False, "must be true or undefined")


def _needs_type(schema: Json, path: str, wanted: str, keyword: str) -> Errors:
    kind, told = schema.get("type") or "", f"must be {wanted} if {keyword} is specified"
    if kind != wanted:
        yield invalid(f"{path}.type", kind, told) if kind else required(f"{path}.type", told)


def _map_type(schema: Json, path: str) -> Errors:
    found = schema.get(_MAP_TYPE)
    if found is None:
        return
    yield from _needs_type(schema, path, "object", _MAP_TYPE)
    if found not in ("atomic", "granular"):
        yield not_supported(f"{path}.{_MAP_TYPE}", found, ("atomic", "granular"))


def _list_type(schema: Json, path: str) -> Errors:
    found, items = schema.get(_LIST_TYPE), schema.get("items")
    if found is not None and schema.get("type") != "array":
        yield from _needs_type(schema, path, "array", _LIST_TYPE)
    elif found == "set" and isinstance(items, dict):
        told = f"must be atomic as item of a list with {_LIST_TYPE}=set"
        if items.get("type") == "array" and items.get(_LIST_TYPE) not in (None, "atomic"):
            yield invalid(f"{path}.items.{_LIST_TYPE}", items.get(_LIST_TYPE), told)
        elif items.get("type") == "object" and items.get(_MAP_TYPE) != "atomic":
            yield invalid(f"{path}.items.{_MAP_TYPE}", items.get(_LIST_TYPE), told)
    if found is not None and found not in ("atomic", "set", "map"):
        yield not_supported(f"{path}.{_LIST_TYPE}", found, ("atomic", "set", "map"))
    if schema.get(_MAP_KEYS) and found != "map":
        told = f"must be map if {_MAP_KEYS} is non-empty"
        at = f"{path}.{_LIST_TYPE}"
        yield required(at, told) if found is None else invalid(at, found, told)


def _map_list(schema: Json, path: str) -> Errors:
    if schema.get(_LIST_TYPE) != "map":
        return
    keys, items = schema.get(_MAP_KEYS) or [], schema.get("items")
    if not keys:
        yield required(f"{path}.{_MAP_KEYS}", f"must not be empty if {_LIST_TYPE} is map")
    if items is None:
        yield required(f"{path}.items", f"must have a schema if {_LIST_TYPE} is map")
    elif not isinstance(items, dict):
        yield invalid(f"{path}.items", items, f"must only have a single schema if {_LIST_TYPE} is map")
    elif items.get("type") != "object":
        told = f"must be object if parent array's {_LIST_TYPE} is map"
        yield invalid(f"{path}.items.type", items.get("type") or "", told)
    else:
        yield from _keys(keys, items, path)


def _keys(keys: list[str], items: Json, path: str) -> Errors:
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            yield invalid(f"{path}.{_MAP_KEYS}", keys, "entries must all be names of item properties")
        elif properties[key].get("type") in ("array", "object"):
            told = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            yield invalid(f"{path}.items.properties[{key}].type", items.get("type"), told)
        if key in keys[:index]:
            yield invalid(f"{path}.{_MAP_KEYS}", keys, "must not contain duplicate entries")


def _correlatable(schema: Json, path: str) -> Errors:
    """Items of sets and maps are there; the keys of maps always have a value."""
    items, kind = schema.get("items"), schema.get(_LIST_TYPE)
    if not isinstance(items, dict) or kind not in ("set", "map"):
        return
    if items.get("nullable"):
        yield forbidden(f"{path}.items.nullable", f"cannot be nullable when {_LIST_TYPE} is {kind}")
    for key in schema.get(_MAP_KEYS) or () if kind == "map" else ():
        found = (items.get("properties") or {}).get(key)
        if found is None:
            continue
        at, why = f"{path}.items.properties[{key}]", f"this property is in {_MAP_KEYS}, so it"
        if key not in (items.get("required") or ()) and found.get("default") is None:
            yield required(f"{at}.default", f"{why} must have a default or be a required property")
        if found.get("nullable"):
            yield forbidden(f"{at}.nullable", f"{why} cannot be nullable")
