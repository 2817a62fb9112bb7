"""The page about adding a kind is true: its example, executed, is served by a registry as any other kind."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tiphys.kinds.registry import builtin

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "add-a-kind.md"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    code = re.search(r"```python\n(\"\"\".*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    # A module of its own: models look the names of their annotations up there.
    module = types.ModuleType("ship")
    monkeypatch.setitem(sys.modules, "ship", module)
    exec(compile(code[1], str(PAGE), "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


def test_one_line_registers_it(example: dict[str, Any]) -> None:
    registry = builtin()
    ships = example["SHIPS"]
    registry.update(add=[ships])
    assert registry.get("seafaring.example.com", "v1", "ships") is ships
    assert ships.path("argo", "x", "status") == "/apis/seafaring.example.com/v1/namespaces/x/ships/argo/status"
    assert (ships.singular, ships.list_kind) == ("ship", "ShipList")


def test_its_hooks_work(example: dict[str, Any]) -> None:
    strategy = example["SHIPS"].strategy
    ship: dict[str, Any] = {"metadata": {"name": "argo"}, "spec": {"harbour": "iolcus"}, "status": {"phase": "sunk"}}
    strategy.default(ship)
    strategy.prepare(ship, None)
    assert ship == {"metadata": {"name": "argo"}, "spec": {"harbour": "iolcus", "oars": 50}}
    assert list(strategy.validate(ship, None)) == []
    moved = {**ship, "spec": {"harbour": "colchis", "oars": -1}}
    assert [str(error) for error in strategy.validate(moved, ship)] == [
        "spec.oars: Invalid value: -1: must be greater than or equal to 0",
        'spec.harbour: Invalid value: "colchis": field is immutable',
    ]


def test_components_read_it(example: dict[str, Any]) -> None:
    ship = msgspec.json.decode(b'{"spec": {"harbour": "iolcus", "sails": 1}}', type=example["SHIPS"].model)
    assert (ship.spec.harbour, ship.spec.oars) == ("iolcus", 50)


def test_its_columns_show_it(example: dict[str, Any]) -> None:
    obj = {"metadata": {"name": "argo"}, "spec": {"harbour": "iolcus", "oars": 3}}
    cells = {column.name: column.value(obj, 0.0) for column in example["SHIPS"].columns}
    assert cells == {"Name": "argo", "Harbour": "iolcus", "Oars": 3, "Age": "<unknown>"}
