"""As much of nftables as the proxy's scripts use: what is refused by the kernel is refused here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tiphys.node.nft_state import State

_GOTO = re.compile(r"(?:goto|jump) ([\w-]+)")
_SET = re.compile(r"@([\w-]+)")


@dataclass
class Table:
    """`elements` by map or set, `sets` with their definitions, `chains` with their rules."""

    chains: dict[str, list[str]] = field(default_factory=lambda: {"refuse": []})
    sets: dict[str, str] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(
        default_factory=lambda: {name: {} for name in ("services", "nodeports", "refused", "hairpins", "used")}
    )
    counters: set[str] = field(default_factory=set)

    def run(self, script: str) -> None:
        """Raises AssertionError where the kernel would refuse the script."""
        for line in script.splitlines():
            verb, what, _, _, name, *rest = line.split(" ", 5)
            getattr(self, f"_{verb}_{what}")(name, rest[0] if rest else "")

    def _add_set(self, name: str, definition: str) -> None:
        assert name not in self.sets, f"set {name} exists"
        self.sets[name] = definition
        self.elements[name] = {}

    def _delete_set(self, name: str, _: str) -> None:
        users = [rule for rules in self.chains.values() for rule in rules if name in _SET.findall(rule)]
        assert name in self.sets, f"no set {name}"
        assert not users, f"set {name} is in use"
        del self.sets[name], self.elements[name]

    def _add_counter(self, name: str, _: str) -> None:
        assert name not in self.counters, f"counter {name} exists"
        self.counters.add(name)

    def _delete_counter(self, name: str, _: str) -> None:
        assert f'"{name}"' not in self.elements["used"].values(), f"counter {name} is in use"
        self.counters.remove(name)

    def _add_chain(self, name: str, _: str) -> None:
        self.chains.setdefault(name, [])

    def _flush_chain(self, name: str, _: str) -> None:
        self.chains[name].clear()

    def _delete_chain(self, name: str, _: str) -> None:
        rules = [rule for chain in self.chains.values() for rule in chain]
        verdicts = [verdict for elements in self.elements.values() for verdict in elements.values()]
        assert not self.chains[name], f"chain {name} has rules"
        assert name not in _GOTO.findall(" ".join(rules + verdicts)), f"chain {name} is in use"
        del self.chains[name]

    def _add_rule(self, name: str, rule: str) -> None:
        assert all(target in self.chains for target in _GOTO.findall(rule)), f"{rule} leads nowhere"
        assert all(used in self.sets for used in _SET.findall(rule)), f"{rule} uses no set"
        self.chains[name].append(rule)

    def _add_element(self, place: str, text: str) -> None:
        for key, verdict in _pairs(text):
            assert key not in self.elements[place], f"{place} has {key}"
            assert all(target in self.chains for target in _GOTO.findall(verdict)), f"{verdict} leads nowhere"
            assert place != "used" or verdict.strip('"') in self.counters, f"{verdict} is no counter"
            self.elements[place][key] = verdict

    def _delete_element(self, place: str, text: str) -> None:
        for key, verdict in _pairs(text):
            assert self.elements[place].pop(key) == verdict

    def holds(self, state: State) -> bool:
        """Whether the table is just what a state says."""
        chains = {name: tuple(rules) for name, rules in self.chains.items() if name != "refuse"}
        return (
            chains == state.chains
            and {place: found for place, found in self.elements.items() if found or place in state.elements}
            == state.elements
            and self.counters == state.counters
            and self.sets == {name: f"{{ {definition} }}" for name, definition in state.sets.items()}
        )


def _pairs(text: str) -> list[tuple[str, str]]:
    found = []
    for element in text.strip("{} ").split(", "):
        key, _, verdict = element.partition(" : ")
        found.append((key, verdict))
    return found
