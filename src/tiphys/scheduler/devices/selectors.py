"""CEL selectors of devices: compiled once, evaluated once for each device.

An expression sees `device.driver`, `device.attributes[DOMAIN].NAME`, `device.capacity[DOMAIN].NAME` and
`device.allowMultipleAllocations`. A domain of which the device has nothing is an empty map.
Source: upstream's `dynamic-resource-allocation/cel/compile.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tiphys.scheduler.devices.effort import Effort
from tiphys.scheduler.devices.inventory import Device

if TYPE_CHECKING:
    from tiphys.api.cel.environment import Program

_COMPILED = 256


def matches(expression: str, device: Device, effort: Effort) -> bool | str:
    """Whether the device is selected; text is what went wrong."""
    known = device.outcomes.get(expression)
    if known is None:
        if effort.too_costly(expression):
            return "CEL runtime error: the expression costs too much on so many devices"
        known = device.outcomes[expression] = _evaluate(expression, device, effort)
    return known


def _evaluate(expression: str, device: Device, effort: Effort) -> bool | str:
    from tiphys.api.cel.calls import PER_CALL_LIMIT
    from tiphys.api.cel.environment import Budget
    from tiphys.api.cel.errors import CelError  # few clusters have devices

    compiled = _compile(expression)
    if isinstance(compiled, str):
        return compiled
    program, domains = compiled
    budget = Budget(PER_CALL_LIMIT)
    try:
        found = program.evaluate({"device": _bindings(device, domains)}, budget)
    except CelError as error:
        return f"CEL runtime error: {error}"
    finally:
        effort.costs[expression] = effort.costs.get(expression, 0) + PER_CALL_LIMIT - budget.left
    return found if isinstance(found, bool) else f"CEL runtime error: expression returned {found!r}, not a bool"


@lru_cache(maxsize=_COMPILED)
def _compile(expression: str) -> tuple[Program, frozenset[str]] | str:
    """With the domains that the expression asks for."""
    from tiphys.api.cel import types
    from tiphys.api.cel.errors import CompileError
    from tiphys.api.cel.kubernetes import environment

    try:
        program = environment({"device": types.DYN}).compile(expression)
    except CompileError as error:
        return f"CEL compile error: {error}"
    return program, frozenset(_texts(program.node))


def _texts(node: Any) -> Iterator[str]:
    """The string literals of an expression: whatever it takes for a domain is among them."""
    from tiphys.api.cel.ast import Entry, Literal, Node

    if isinstance(node, Literal) and isinstance(node.value, str):
        yield node.value
    for kind in type(node).__mro__:
        for name in getattr(kind, "__slots__", ()):
            value = getattr(node, name)
            for child in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(child, (Node, Entry)):
                    yield from _texts(child)


def _bindings(device: Device, domains: Iterable[str]) -> dict[str, Any]:
    from tiphys.api import quantity
    from tiphys.api.cel.library.kubernetes import Amount, Version

    attributes: dict[str, dict[str, Any]] = {domain: {} for domain in domains}
    for name in device.spec.attributes:
        domain, rest = _split(name, device.driver)
        found = device.attribute(f"{domain}/{rest}")
        if found is not None:
            kind, value = found
            attributes.setdefault(domain, {})[rest] = Version(value) if kind == "version" else value
    capacity: dict[str, dict[str, Any]] = {domain: {} for domain in domains}
    for name, each in device.spec.capacity.items():
        domain, rest = _split(name, device.driver)
        capacity.setdefault(domain, {})[rest] = Amount(quantity.parse(each.value))
    return {
        "driver": device.driver, "attributes": attributes, "capacity": capacity,
        "allowMultipleAllocations": device.shared,
    }  # fmt: skip


def _split(name: str, driver: str) -> tuple[str, str]:
    domain, slash, rest = name.partition("/")
    return (domain, rest) if slash else (driver, name)
