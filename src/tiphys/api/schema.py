"""Schema: what one field of the API may hold, and how lists and maps of it merge.

One engine serves built-in types (from `facts`) and CustomResourceDefinitions (from `custom_schema`): decoding, pruning,
defaulting, validation, strategic merge and server-side apply all walk these nodes. Nodes are shared, may refer to each
other in circles, and are never changed once built.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ and the
`x-kubernetes-*` extensions of the API conventions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from tiphys.api.custom_schema import Limits

# Codes of node types, dense ints because walkers dispatch on them for every value of every request.
STRING, INTEGER, BOOLEAN, OBJECT, MAP, ARRAY, NUMBER, QUANTITY, INT_OR_STRING, TIME, MICRO_TIME, BYTES, ANY, FREE = (
    range(14)
)

_TYPE_NAMES = (
    "string", "integer", "boolean", "object", "object", "array", "number", "quantity", "int-or-string", "date-time",
    "micro-time", "byte", "any", "object",
)  # fmt: skip


class Schema:
    """One node. `code` is the type as one of this module's constants, `type` its name.

    `properties` are the fields of an OBJECT, `additional` the values of a MAP (or what else an OBJECT of a CRD may
    hold), `items` the elements of an ARRAY. `go` names the type as upstream's decoding errors print it; `struct` is
    the bare name of an OBJECT's type there. `inline` marks a struct that upstream always has, even when empty.
    `default` is None where there is none. `limits` is None for built-in types.
    """

    __slots__ = (
        "__weakref__",
        "additional",
        "code",
        "default",
        "description",
        "embedded_resource",
        "format",
        "go",
        "inline",
        "items",
        "limits",
        "list_map_keys",
        "list_type",
        "map_type",
        "name",
        "nullable",
        "patch_merge_key",
        "patch_strategy",
        "preserve_unknown",
        "properties",
        "required",
        "rules",
        "struct",
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
            if slot != "__weakref__":
                setattr(twin, slot, getattr(self, slot))
        return twin

    def __repr__(self) -> str:
        return f"Schema({self.name or self.type})"


# What a value without any schema is: kept as it is, merged by the shape that it has.
ANYTHING = Schema(ANY, go="interface {}")
ANYTHING.preserve_unknown = True


def canonical(value: Any) -> bytes:
    """Bytes that are equal exactly where two JSON values are, whatever the order of their keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
