"""Facts of the built-in types of Kubernetes v1.36, from the table `facts.json` that `tools/generate_facts.py` makes.

A definition's nodes are built when it is first asked for, and then kept; scalars are shared by all. `required` is
advisory for built-ins: upstream's own validation decides what may be empty.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from tiphys.api import schema as s
from tiphys.api.schema import Schema

_PROSE = "kubernetes-json-schema/v1.36.0-local/_definitions.json"

_SCALARS = {
    "s": Schema(s.STRING, go="string"),
    "i": Schema(s.INTEGER, go="int32", format="int32"),
    "l": Schema(s.INTEGER, go="int64", format="int64"),
    "n": Schema(s.NUMBER, go="float64", format="double"),
    "b": Schema(s.BOOLEAN, go="bool"),
    "y": Schema(s.BYTES, go="[]uint8", format="byte"),
    "t": Schema(s.TIME, go="v1.Time", format="date-time"),
    "u": Schema(s.MICRO_TIME, go="v1.MicroTime", format="date-time"),
    "q": Schema(s.QUANTITY, go="resource.Quantity"),
    "x": Schema(s.INT_OR_STRING, go="intstr.IntOrString", format="int-or-string"),
    "o": Schema(s.FREE, go="map[string]interface {}"),
    "j": Schema(s.ANY, go="interface {}"),
}
for _kind in "oj":
    # What these hold has no schema, and one owner.
    _SCALARS[_kind].preserve_unknown = True
    _SCALARS[_kind].map_type = "atomic"

_built: dict[int, Schema] = {}


class _Table:
    __slots__ = ("index", "kinds", "names", "types")

    def __init__(self) -> None:
        raw = orjson.loads(Path(__file__).with_name("facts.json").read_bytes())
        self.kinds: dict[str, int] = raw["kinds"]
        self.names: list[str] = raw["names"]
        self.types: list[str] = raw["types"]
        self.index = {name: number for number, name in enumerate(self.names)}


@cache
def _table() -> _Table:
    return _Table()


def gvk(group: str, version: str, kind: str) -> str | None:
    """The definition's name of a kind, such as "io.k8s.api.core.v1.Pod"; None where upstream has no such kind."""
    number = _table().kinds.get(f"{group}/{version}/{kind}")
    return None if number is None else _table().names[number]


def names() -> list[str]:
    """Names of all definitions."""
    return list(_table().names)


def schema(name: str) -> Schema:
    """The schema of a definition, such as "io.k8s.api.core.v1.Pod". Raises KeyError where there is none."""
    return _definition(_table().index[name])


def prose() -> dict[str, Any] | None:
    """All definitions with their descriptions, as JSON Schema; None unless the extra `prose` is installed. Not kept."""
    spec = find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        return None
    found: dict[str, Any] = orjson.loads((Path(spec.origin).parent / _PROSE).read_bytes())["$defs"]
    return found


def _definition(number: int) -> Schema:
    node = _built.get(number)
    if node is None:
        name = _table().names[number]
        node = Schema(s.OBJECT, name=name, go=".".join(name.split(".")[-2:]))
        # Known before its fields are built, for types that contain themselves.
        _built[number] = node
        _fill(node, _table().types[number])
    return node


def _fill(node: Schema, line: str) -> None:
    required = []
    for entry in line.split():
        name, _, rest = entry.partition(":")
        kind, *attributes = rest.split("|")
        if name == "*":
            _attribute(node, attributes)
            continue
        if "R" in attributes:
            attributes.remove("R")
            required.append(name)
        field = _type(kind)
        if attributes:
            field = field.copy()
            _attribute(field, attributes)
        node.properties[name] = field
    node.required = tuple(required)


@cache
def _type(kind: str) -> Schema:
    head = kind[0]
    if head == "#":
        return _definition(int(kind[1:]))
    if head == "[":
        node = Schema(s.ARRAY)
        node.items = _type(kind[1:])
        node.go = "[]" + node.items.go
        return node
    if head == "{":
        node = Schema(s.MAP)
        node.additional = _type(kind[1:])
        node.go = "map[string]" + node.additional.go
        return node
    return _SCALARS[kind]


def _attribute(node: Schema, attributes: list[str]) -> None:
    for attribute in attributes:
        head, _, value = attribute.partition("=")
        if head[0] == "L":
            node.list_type = {"a": "atomic", "s": "set", "m": "map"}[head[1]]
            node.list_map_keys = tuple(value.split(",")) if value else ()
        elif head[0] == "M":
            node.map_type = {"a": "atomic", "g": "granular"}[head[1]]
        elif head == "P":
            node.patch_strategy = tuple(value.split(","))
        elif head == "K":
            node.patch_merge_key = value
        elif head == "D":
            node.default = value
        elif head == "I":
            node.inline = True
