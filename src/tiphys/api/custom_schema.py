"""Schemas of CustomResourceDefinitions, from what their authors wrote to the nodes that everything else walks.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from tiphys.api import facts
from tiphys.api.schema import (
    ANY,
    ANYTHING,
    ARRAY,
    BOOLEAN,
    INT_OR_STRING,
    INTEGER,
    MAP,
    NUMBER,
    OBJECT,
    STRING,
    Schema,
    canonical,
)

_SCALARS = {"string": STRING, "integer": INTEGER, "boolean": BOOLEAN, "number": NUMBER, "array": ARRAY}
_LIMITS = frozenset({
    "allOf", "anyOf", "enum", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
    "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "uniqueItems",
})  # fmt: skip
_JUDGED = (*sorted(_LIMITS), "exclusiveMaximum", "exclusiveMinimum", "default", "x-kubernetes-validations")
# The nodes in use, by their content.
_shared: WeakValueDictionary[tuple[Any, ...], Schema] = WeakValueDictionary()


class Limits:
    """The value constraints of a CRD node: everything that is checked on a value once its type is right."""

    __slots__ = (
        "_compiled", "all_of", "any_of", "enum", "exclusive_maximum", "exclusive_minimum", "max_items", "max_length",
        "max_properties", "maximum", "min_items", "min_length", "min_properties", "minimum", "multiple_of",
        "negation", "one_of", "pattern", "unique_items",
    )  # fmt: skip

    def __init__(self, raw: Mapping[str, Any]) -> None:
        get = raw.get
        self.enum: Sequence[Any] | None = get("enum")
        self.minimum: float | None = get("minimum")
        self.maximum: float | None = get("maximum")
        self.exclusive_minimum: bool = bool(get("exclusiveMinimum"))
        self.exclusive_maximum: bool = bool(get("exclusiveMaximum"))
        self.multiple_of: float | None = get("multipleOf")
        self.min_length: int | None = get("minLength")
        self.max_length: int | None = get("maxLength")
        self.pattern: str = get("pattern") or ""
        self._compiled: Any = None
        self.min_items: int | None = get("minItems")
        self.max_items: int | None = get("maxItems")
        self.unique_items: bool = bool(get("uniqueItems"))
        self.min_properties: int | None = get("minProperties")
        self.max_properties: int | None = get("maxProperties")
        self.all_of: tuple[Schema, ...] = tuple(map(_build, get("allOf") or ()))
        self.any_of: tuple[Schema, ...] = tuple(map(_build, get("anyOf") or ()))
        self.one_of: tuple[Schema, ...] = tuple(map(_build, get("oneOf") or ()))
        self.negation: Schema | None = _build(raw["not"]) if get("not") else None

    def matches(self, text: str) -> bool:
        """Whether the pattern is found in the text; it is compiled for the first. Raises ValueError for a bad one."""
        if self._compiled is None:
            # Only values that have patterns load the library.
            from tiphys.api.cel.errors import EvalError
            from tiphys.api.cel.regexes import compiled

            try:
                self._compiled = compiled(self.pattern)
            except EvalError as error:
                raise ValueError(str(error)) from None
        return self._compiled.search(text) is not None


def from_openapi_v3(raw: Mapping[str, Any]) -> Schema:
    """The schema of a CustomResourceDefinition version (`openAPIV3Schema`): a structural schema as a plain dict.

    `apiVersion`, `kind` and `metadata` of the root are known without being listed.
    """
    return _build({**raw, "type": "object", "x-kubernetes-embedded-resource": True})


def _embed(node: Schema) -> None:
    """Give an object that is a whole resource the fields that every resource has; its own metadata may only narrow."""
    node.code = OBJECT
    for name in ("apiVersion", "kind"):
        node.properties.setdefault(name, Schema(STRING, go="string"))
    metadata = facts.schema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    narrowed = node.properties.get("metadata")
    if narrowed is not None and (narrowed.properties or narrowed.default is not None or narrowed.limits is not None):
        metadata = metadata.copy()
        # No built-in type any more: the definition has a say.
        metadata.name = ""
        metadata.properties = {**metadata.properties, **narrowed.properties}
        metadata.default, metadata.required, metadata.limits = narrowed.default, narrowed.required, narrowed.limits
    node.properties["metadata"] = metadata


def _code(raw: Mapping[str, Any]) -> int:
    if raw.get("x-kubernetes-int-or-string"):
        return INT_OR_STRING
    kind = raw.get("type")
    if kind == "object":
        if raw.get("properties"):
            return OBJECT
        return MAP if isinstance(raw.get("additionalProperties"), Mapping) else OBJECT
    return _SCALARS.get(kind or "", ANY)


def _build(raw: Mapping[str, Any]) -> Schema:
    """The node of `raw`: the very same for everything that says the same, as large definitions do over and over.

    Descriptions are left out: they are published from where the definition is stored.
    """
    get = raw.get
    node = Schema(_code(raw), format=get("format") or "")
    node.go = node.type
    node.properties = {name: _build(child) for name, child in (get("properties") or {}).items()}
    additional = get("additionalProperties")
    if isinstance(additional, Mapping):
        node.additional = _build(additional)
    elif additional is True:
        node.additional = ANYTHING
    if isinstance(get("items"), Mapping):
        node.items = _build(raw["items"])
    node.required = tuple(get("required") or ())
    node.nullable = bool(get("nullable"))
    node.default = get("default")
    node.preserve_unknown = bool(get("x-kubernetes-preserve-unknown-fields"))
    node.embedded_resource = bool(get("x-kubernetes-embedded-resource"))
    node.list_type = get("x-kubernetes-list-type") or ""
    node.list_map_keys = tuple(sorted(get("x-kubernetes-list-map-keys") or ()))
    node.map_type = get("x-kubernetes-map-type") or ""
    node.rules = get("x-kubernetes-validations") or ()
    if not _LIMITS.isdisjoint(raw):
        node.limits = Limits(raw)
    if node.embedded_resource:
        _embed(node)
    return _shared.setdefault(_content(node, raw), node)


def _content(node: Schema, raw: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells nodes apart; those inside are told apart by identity, which they keep for as long as they are used."""
    judged = {name: raw[name] for name in _JUDGED if name in raw}
    return (
        node.code, node.format, node.nullable, node.preserve_unknown, node.embedded_resource, node.list_type,
        node.list_map_keys, node.map_type, node.required, id(node.items), id(node.additional),
        tuple((name, id(child)) for name, child in node.properties.items()),
        canonical(judged) if judged else b"",
    )  # fmt: skip
