"""Schemas as types: what may be selected, how data is read, and the costs that follow, which upstream's tests fix."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.cel.decl import Decl, declare
from tiphys.api.cel.errors import CompileError
from tiphys.api.cel.estimate import estimate
from tiphys.api.cel.kubernetes import environment
from tiphys.api.custom_schema import from_openapi_v3

TEXT, WHOLE = {"type": "string"}, {"type": "integer"}


def declared(**properties: Any) -> Decl:
    found = declare(from_openapi_v3({"type": "object", "properties": properties}), root=True)
    assert found is not None
    return found


def run(decl: Decl, source: str, data: Any) -> Any:
    return environment({"self": decl.type}).compile(source).evaluate({"self": decl.value(data)})


def keyed(kind: str, **extra: Any) -> dict[str, Any]:
    item = {"type": "object", "properties": {"k": TEXT, "v": TEXT}} if kind == "map" else TEXT
    return {"type": "array", "x-kubernetes-list-type": kind, "items": item, **extra}


@pytest.mark.parametrize(
    ("field", "value", "source"),
    [
        ({"type": "string", "format": "date-time"}, "2024-01-01T00:00:00Z", "self.x.getFullYear() == 2024"),
        ({"type": "string", "format": "date"}, "2024-01-02", "self.x.getDate() == 2"),
        ({"type": "string", "format": "duration"}, "1h", "self.x > duration('30m')"),
        ({"type": "string", "format": "byte"}, "aGk=", "self.x == b'hi'"),
        ({"type": "number"}, 1, "self.x / 2.0 == 0.5"),
        ({"x-kubernetes-int-or-string": True}, "5%", "type(self.x) == string && self.x == '5%'"),
        (keyed("set"), ["a", "b"], "self.x == ['b', 'a'] && self.x + ['a', 'c'] == ['a', 'b', 'c']"),
        (
            keyed("map", **{"x-kubernetes-list-map-keys": ["k"]}),
            [{"k": "a", "v": "1"}, {"k": "b", "v": "2"}],
            "self.x == [self.x[1], self.x[0]] && (self.x + [self.x[0]]).size() == 2",
        ),
        ({"type": "object", "additionalProperties": WHOLE}, {"a": 1}, "self.x.all(k, self.x[k] == 1) && self.x.a == 1"),
        ({"type": "string", "nullable": True}, None, "!has(self.x)"),
    ],
)
def test_data_is_what_its_schema_says(field: dict[str, Any], value: Any, source: str) -> None:
    assert run(declared(x=field), source, {"x": value}) is True


def test_names_that_are_no_identifiers_are_escaped() -> None:
    decl = declared(**{"a-b": WHOLE, "namespace": WHOLE, "c__d": WHOLE, "e.f/g": WHOLE})
    data = {"a-b": 1, "namespace": 2, "c__d": 3, "e.f/g": 4}
    source = "self.a__dash__b + self.__namespace__ + self.c__underscores__d + self.e__dot__f__slash__g == 10"
    assert run(decl, source, data) is True


def test_of_a_resource_only_names_are_seen_besides_what_is_declared() -> None:
    decl = declared(spec={"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    data = {"kind": "A", "metadata": {"name": "n", "labels": {}}, "spec": {"x": 1}}
    assert run(decl, "self.kind == 'A' && self.metadata.name == 'n'", data) is True
    for source in ("self.metadata.labels", "self.spec.x"):
        with pytest.raises(CompileError, match="undefined field"):
            run(decl, source, data)


@pytest.mark.parametrize(
    ("source", "spent", "most"),
    [
        ("self.number == 1", 3, 2),
        ("self.text.startsWith('a')", 3, 3),
        ("self.text == self.text", 5, 314577),
        ("self.numbers.all(x, x == 1)", 18, None),
        ("has(self.text)", 1, 1),
        ("self.number in [1, 2]", 2, 14),
        ("self.number > 0 ? self.text : 'a'", 4, None),
    ],
)
def test_costs_are_upstreams(source: str, spent: int, most: int | None) -> None:
    decl = declared(number=WHOLE, text=TEXT, numbers={"type": "array", "items": WHOLE})
    program = environment({"self": decl.type}).compile(source)
    data = decl.value({"number": 1, "text": "abc", "numbers": [1, 1, 1]})
    assert program.cost({"self": data}) == spent
    if most is not None:
        assert estimate(program.node, decl).most == most


def test_bounds_of_the_schema_bound_the_cost() -> None:
    def most(**limits: int) -> int:
        decl = declared(names={"type": "array", "items": {"type": "string", "maxLength": 10}, **limits})
        program = environment({"self": decl.type}).compile("self.names.all(x, x != 'a')")
        return estimate(program.node, decl).most

    assert most(maxItems=10) < 100 < most() // 1000
