"""Schemas as OpenAPI definitions: built-ins from the facts (with prose where it is installed), custom ones as given."""

from __future__ import annotations

from typing import Any

from tiphys.api import facts
from tiphys.api import schema as s
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json
from tiphys.api.schema import Schema
from tiphys.server.openapi_custom import published, published_list

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_DEFS = "#/$defs/"
V2, V3 = "#/definitions/", "#/components/schemas/"


class Definitions:
    """Collects the definitions that a document needs; `prefix` is where its references point."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._found: dict[str, Json] = {}
        self._prose = facts.prose() if prefix else None

    def all(self) -> dict[str, Json]:
        return self._found

    def reference(self, name: str) -> Json:
        return {"$ref": self._prefix + name}

    def add(self, resource: AnyResource) -> str:
        """Define the resource's type and all that it refers to; its definition's name."""
        if resource.structural is None:
            name = resource.schema
            self._builtin(name)
        else:
            name = ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])
            self._builtin(_META + "ObjectMeta")
            self._builtin(_META + "ListMeta")
            self._found[name] = self.own(resource)
            listed = published_list(resource, self.reference(name), self.reference(_META + "ListMeta"))
            self._found[f"{name.rpartition('.')[0]}.{resource.list_kind}"] = listed
        gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        known = self._found[name].setdefault("x-kubernetes-group-version-kind", [])
        if gvk not in known:
            known.append(gvk)
        return name

    def own(self, resource: AnyResource) -> Json:
        """The definition of a custom resource."""
        return published(resource, self.reference(_META + "ObjectMeta"), v2=self._prefix == V2)

    def _builtin(self, name: str) -> None:
        if name in self._found:
            return
        if self._prose is not None and name in self._prose:
            self._found[name] = {}
            self._found[name] = self._translated(self._prose[name])
            return
        try:
            schema = facts.schema(name)
        except KeyError:
            self._found[name] = {"type": "object"}
            return
        self._found[name] = {}
        self._found[name] = self._node(schema, top=True)

    def _translated(self, value: Any) -> Any:
        """A JSON Schema node as OpenAPI: references moved, the null type dropped."""
        if isinstance(value, list):
            return [self._translated(item) for item in value]
        if not isinstance(value, dict):
            return value
        made: Json = {}
        for key, child in value.items():
            if key == "$ref" and isinstance(child, str):
                name = child.removeprefix(_DEFS)
                self._builtin(name)
                made[key] = self._prefix + name
            elif key == "type" and isinstance(child, list):
                made[key] = next((kind for kind in child if kind != "null"), "object")
            elif key != "x-kubernetes-group-version-kind" or isinstance(child, list):
                made[key] = self._translated(child)
        return made

    def _node(self, node: Schema, *, top: bool = False) -> Json:
        if node.name and not top:
            self._builtin(node.name)
            return self.reference(node.name)
        made: Json = {}
        if node.description:
            made["description"] = node.description
        kind = _TYPES.get(node.code)
        if kind:
            made["type"] = kind
        if node.format and node.format != "int-or-string":
            made["format"] = node.format
        if node.properties:
            made["properties"] = {name: self._node(child) for name, child in node.properties.items()}
        if node.additional is not None:
            made["additionalProperties"] = self._node(node.additional)
        if node.items is not None:
            made["items"] = self._node(node.items)
        if node.required:
            made["required"] = list(node.required)
        if node.default is not None:
            made["default"] = node.default
        return made | _extensions(node)


_TYPES = {
    s.OBJECT: "object", s.MAP: "object", s.FREE: "object", s.ARRAY: "array", s.STRING: "string", s.BYTES: "string",
    s.TIME: "string", s.MICRO_TIME: "string", s.QUANTITY: "string", s.INTEGER: "integer", s.NUMBER: "number",
    s.BOOLEAN: "boolean",
}  # fmt: skip


def _extensions(node: Schema) -> Json:
    made: Json = {}
    if node.int_or_string:
        made["x-kubernetes-int-or-string"] = True
    if node.preserve_unknown:
        made["x-kubernetes-preserve-unknown-fields"] = True
    if node.list_type:
        made["x-kubernetes-list-type"] = node.list_type
    if node.list_map_keys:
        made["x-kubernetes-list-map-keys"] = list(node.list_map_keys)
    if node.map_type:
        made["x-kubernetes-map-type"] = node.map_type
    if node.patch_merge_key:
        made["x-kubernetes-patch-merge-key"] = node.patch_merge_key
    if node.patch_strategy:
        made["x-kubernetes-patch-strategy"] = ",".join(node.patch_strategy)
    return made
