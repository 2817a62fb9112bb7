"""Schemas of custom resources as OpenAPI publishes them: whole in v3, in v2 only what old clients understand.

Source: upstream's `apiextensions-apiserver/pkg/controller/openapi/{builder,v2}`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json

_PRESERVE, _EMBEDDED, _INT_OR_STRING = (
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
)  # fmt: skip
_EITHER = [{"type": "integer"}, {"type": "string"}]
_IDENTITY: Json = {
    "apiVersion": {"type": "string", "description": "The group and version of this representation of the object."},
    "kind": {"type": "string", "description": "What the object is, as the API spells it."},
}


def published(resource: AnyResource, metadata: Json, *, v2: bool) -> Json:
    """The definition of a custom resource; `metadata` is a reference to ObjectMeta."""
    written = resource.openapi.read() if resource.openapi is not None else {}
    # Of a kind without declared fields, clients would take every field for an unknown one.
    if not written or (v2 and written.get(_PRESERVE)):
        made: Json = {"type": "object"}
    else:
        made = _mapped(written, _for_v2 if v2 else _unfolded)
        _embed(made, metadata, v2=v2)
        made["properties"] = {**made.get("properties", {}), **_identity(metadata)}
    fields = [{"fieldPath": name} for name in resource.selectable_fields]
    return made | ({"x-kubernetes-selectable-fields": fields} if fields else {})


def published_list(resource: AnyResource, item: Json, metadata: Json) -> Json:
    """The definition of its list; `item` and `metadata` are references."""
    items = {"type": "array", "items": item, "description": f"List of {resource.plural}."}
    return {
        "type": "object", "description": f"{resource.list_kind} is a list of {resource.kind}", "required": ["items"],
        "properties": {**_IDENTITY, "items": items, "metadata": metadata},
        "x-kubernetes-group-version-kind": [
            {"group": resource.group, "version": resource.version, "kind": resource.list_kind}
        ],
    }  # fmt: skip


def _identity(metadata: Json) -> Json:
    return {**_IDENTITY, "metadata": {**metadata, "description": "Standard object's metadata."}}


def _mapped(schema: Json, change: Callable[[Json], Json]) -> Json:
    """A copy of the schema with `change` made to each node, from the root down."""
    made = change({name: value for name, value in schema.items() if value is not None})
    for name in ("items", "additionalProperties"):
        if isinstance(made.get(name), dict):
            made[name] = _mapped(made[name], change)
    if made.get("properties"):
        made["properties"] = {name: _mapped(child, change) for name, child in made["properties"].items()}
    return made


def _unfolded(node: Json) -> Json:
    """`x-kubernetes-int-or-string` said in OpenAPI's own words too."""
    if not node.get(_INT_OR_STRING):
        return node
    all_of = node.get("allOf") or []
    if node.get("anyOf") == _EITHER or (all_of and all_of[0].get("anyOf") == _EITHER):
        return node
    return {**node, "allOf": [{"anyOf": _EITHER}, *all_of]} if node.get("anyOf") else {**node, "anyOf": _EITHER}


def _for_v2(node: Json) -> Json:
    """What v2 has no word for goes, and what makes its clients refuse good objects."""
    node = {name: value for name, value in node.items() if name not in ("allOf", "oneOf", "anyOf", "not")}
    nullable = node.pop("nullable", False)
    if nullable or node.get(_PRESERVE):
        node.pop("items", None)
        node.pop("properties", None)
    untyped = nullable or (node.get("type") == "array" and "items" not in node)
    if untyped or (node.get(_PRESERVE) and node.get("type") == "object"):
        node.pop("type", None)
    _forget_required(node)
    return node


def _forget_required(node: Json) -> None:
    """Nullable fields may be missing for clients that know no null."""
    additional: Any = node.get("additionalProperties")
    if isinstance(additional, dict) and additional.get("nullable"):
        node.pop("required", None)
    if node.get("required"):
        fields = node.get("properties") or {}
        node["required"] = [name for name in node["required"] if not (fields.get(name) or {}).get("nullable")]
        if not node["required"]:
            del node["required"]


def _embed(node: Json, metadata: Json, *, v2: bool) -> None:
    """Give embedded resources, in place, the identity that they have without declaring it."""
    for child in (node.get("properties") or {}).values():
        _embed(child, metadata, v2=v2)
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), dict):
            _embed(node[name], metadata, v2=v2)
    if node.get(_EMBEDDED) and not (v2 and node.get(_PRESERVE)):
        node["properties"] = {**(node.get("properties") or {}), **_identity(metadata)}
        node["required"] = [*dict.fromkeys([*(node.get("required") or ()), "kind", "apiVersion"])]
