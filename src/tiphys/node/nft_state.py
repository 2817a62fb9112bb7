"""What changes in an nftables table while it is in use, and the script that turns one state into the next. Pure.

A script changes only what differs and is applied as one transaction; its order never refers to what is not there.
Source: https://wiki.nftables.org/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class State:
    """Chains by name with their rules, sets by name with their definitions, and the elements of maps and sets.

    `elements` also has the maps and sets that the table always has. A set's definition belongs to its name for good.
    """

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    counters: set[str] = field(default_factory=set)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)


def script(table: str, old: State, new: State) -> str:
    """The commands that turn `old` into `new` in a table such as "ip tiphys"; empty for none."""
    return "".join(f"{line}\n" for line in _lines(table, old, new))


def _lines(table: str, old: State, new: State) -> Iterator[str]:
    for name, definition in new.sets.items():
        if name not in old.sets:
            yield f"add set {table} {name} {{ {definition} }}"
    yield from (f"add counter {table} {counter}" for counter in sorted(new.counters - old.counters))
    changed = [chain for chain, rules in new.chains.items() if old.chains.get(chain) != rules]
    yield from (f"add chain {table} {chain}" for chain in changed if chain not in old.chains)
    for chain in changed:
        if chain in old.chains:
            yield f"flush chain {table} {chain}"
        yield from (f"add rule {table} {chain} {rule}" for rule in new.chains[chain])
    for place in old.elements | new.elements:
        if place in new.elements or place not in old.sets:
            yield from _elements(f"{table} {place}", old.elements.get(place, {}), new.elements.get(place, {}))
    gone = [chain for chain in old.chains if chain not in new.chains]
    yield from (f"flush chain {table} {chain}" for chain in gone)
    yield from (f"delete chain {table} {chain}" for chain in gone)
    yield from (f"delete set {table} {name}" for name in old.sets if name not in new.sets)
    yield from (f"delete counter {table} {counter}" for counter in sorted(old.counters - new.counters))


def _elements(target: str, old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    """A changed verdict is removed and added again: elements cannot be changed in place."""
    gone = [_element(key, value) for key, value in old.items() if new.get(key) != value]
    come = [_element(key, value) for key, value in new.items() if old.get(key) != value]
    if gone:
        yield f"delete element {target} {{ {', '.join(gone)} }}"
    if come:
        yield f"add element {target} {{ {', '.join(come)} }}"


def _element(key: str, value: str) -> str:
    return f"{key} : {value}" if value else key
