"""Schema: what one field of the API may hold, and how lists and maps of it merge.

One engine serves built-in types (from `facts`) and CustomResourceDefinitions (`from_openapi_v3`): decoding, pruning,
defaulting, validation, strategic merge and server-side apply all walk these nodes. Nodes are shared, may refer to each
other in circles, and are never changed once built.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ and the
`x-kubernetes-*` extensions of the API conventions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

# Codes of node types, dense ints because walkers dispatch on them for every value of every request.
STRING, INTEGER, BOOLEAN, OBJECT, MAP, ARRAY, NUMBER, QUANTITY, INT_OR_STRING, TIME, MICRO_TIME, BYTES, ANY, FREE = (
    range(14)
)

_TYPE_NAMES = (
    "string", "integer", "boolean", "object", "object", "array", "number", "quantity", "int-or-string", "date-time",
    "micro-time", "byte", "any", "object",
)  # fmt: skip


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


class Schema:
    """One node. `code` is the type as one of this module's constants, `type` its name.

    `properties` are the fields of an OBJECT, `additional` the values of a MAP (or what else an OBJECT of a CRD may
    hold), `items` the elements of an ARRAY. `go` names the type as upstream's decoding errors print it; `struct` is
    the bare name of an OBJECT's type there. `inline` marks a struct that upstream always has, even when empty.
    `default` is None where there is none. `limits` is None for built-in types.
    """

    __slots__ = (
        "additional", "code", "default", "description", "embedded_resource", "format", "go", "inline", "items",
        "limits", "list_map_keys", "list_type", "map_type", "name", "nullable", "patch_merge_key", "patch_strategy",
        "preserve_unknown", "properties", "required", "rules", "struct",
    )  # fmt: skip

    def __init__(self, code: int, *, go: str = "", name: str = "", format: str = "") -> None:
        self.code = code
        self.go = go
        self.name = name
        self.struct = name.rpartition(".")[2]
        self.format = format
        self.properties: dict[str, Schema] = {}
        self.additional: Schema | None = None
        self.items: Schema | None = None
        self.required: tuple[str, ...] = ()
        self.nullable = False
        self.inline = False
        self.default: Any = None
        self.description = ""
        self.list_type = ""
        self.list_map_keys: tuple[str, ...] = ()
        self.map_type = ""
        self.patch_merge_key = ""
        self.patch_strategy: tuple[str, ...] = ()
        self.preserve_unknown = False
        self.embedded_resource = False
        self.rules: Sequence[Mapping[str, Any]] = ()
        self.limits: Limits | None = None

    @property
    def type(self) -> str:
        return _TYPE_NAMES[self.code]

    @property
    def int_or_string(self) -> bool:
        return self.code == INT_OR_STRING

    @property
    def atomic(self) -> bool:
        """Whether appliers own the whole value: a scalar, an atomic list or an atomic map or struct."""
        code = self.code
        if code == ARRAY:
            return self.list_type not in ("set", "map")
        if code in (OBJECT, MAP, FREE):
            return self.map_type == "atomic"
        return code != ANY

    def field(self, name: str) -> Schema | None:
        """The schema of `name` inside an object or map; None where nothing is declared."""
        return self.properties.get(name) or self.additional

    def at(self, *path: str) -> Schema | None:
        """The schema found by descending field names; lists are stepped into without an index."""
        node: Schema | None = self
        for name in path:
            while node is not None and node.code == ARRAY:
                node = node.items
            if node is None:
                return None
            node = node.field(name)
        return node

    def copy(self) -> Schema:
        """A node that may be given other merge rules; what it holds stays shared."""
        twin = Schema.__new__(Schema)
        for slot in Schema.__slots__:
            setattr(twin, slot, getattr(self, slot))
        return twin

    def __repr__(self) -> str:
        return f"Schema({self.name or self.type})"


# What a value without any schema is: kept as it is, merged by the shape that it has.
ANYTHING = Schema(ANY, go="interface {}")
ANYTHING.preserve_unknown = True

_SCALARS = {"string": STRING, "integer": INTEGER, "boolean": BOOLEAN, "number": NUMBER, "array": ARRAY}
_LIMITS = frozenset({
    "allOf", "anyOf", "enum", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength",
    "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "uniqueItems",
})  # fmt: skip


def from_openapi_v3(raw: Mapping[str, Any]) -> Schema:
    """The schema of a CustomResourceDefinition version (`openAPIV3Schema`): a structural schema as a plain dict.

    `apiVersion`, `kind` and `metadata` of the root are known without being listed.
    """
    return _build({**raw, "type": "object", "x-kubernetes-embedded-resource": True})


def _embed(node: Schema) -> None:
    """Give an object that is a whole resource the fields that every resource has; its own metadata may only narrow."""
    # The facts are built of this module's nodes, so they can only be asked for once both are loaded.
    from tiphys.api import facts

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
    get = raw.get
    node = Schema(_code(raw), format=get("format") or "")
    node.go = node.type
    node.description = get("description") or ""
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
    return node


def canonical(value: Any) -> bytes:
    """Bytes that are equal exactly where two JSON values are, whatever the order of their keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
