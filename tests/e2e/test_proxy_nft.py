"""The proxy's scripts on the real kernel, in a network namespace of the test's own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiphys.node.nft_state import State, script
from tiphys.proxy.plan import Port
from tiphys.proxy.rules import Setting, state_of, table

sys.path.append(str(Path(__file__).parents[1] / "unit" / "proxy"))
from proxy_objects import clusters

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
SETTING, TABLE = Setting("tiphys-test", "10.42.0.0/16", "br0"), "ip tiphys-test"
TWO = (("10.42.0.1", 8080), ("10.42.0.2", 8080))


class Kernel:
    def __init__(self, namespace: str) -> None:
        self._inside = ["ip", "netns", "exec", namespace]

    def apply(self, text: str) -> None:
        command = [*self._inside, "nft", "-f", "-"]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        assert not done.returncode, f"{done.stderr}\nin\n{text}"

    def elements(self) -> dict[str, dict[str, str]]:
        """The elements of maps and sets, by the map, as the scripts write them; affinity sets are left out."""
        found: dict[str, dict[str, str]] = {}
        for entry in self._listed():
            for kind in ("map", "set"):
                if kind in entry and not entry[kind]["name"].startswith("aff-"):
                    found[entry[kind]["name"]] = dict(_element(each) for each in entry[kind].get("elem", ()))
        return found

    def names(self, kind: str) -> set[str]:
        return {entry[kind]["name"] for entry in self._listed() if kind in entry}

    def rules(self, chain: str) -> int:
        return sum(1 for entry in self._listed() if entry.get("rule", {}).get("chain") == chain)

    def _listed(self) -> list[dict[str, dict[str, str]]]:
        command = [*self._inside, "nft", "-j", "list", "table", "ip", SETTING.table]
        listed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["nftables"]
        return [entry for entry in listed if "metainfo" not in entry]


def _element(found: object) -> tuple[str, str]:
    """An element in nft's JSON: a key, or a pair of one and a verdict or a counter's name."""
    if isinstance(found, list):
        key, value = found
        return _key(key), f'"{value}"' if isinstance(value, str) else f"goto {value['goto']['target']}"
    return _key(found), ""


def _key(found: object) -> str:
    """An address, or a concatenation."""
    if isinstance(found, str):
        return found
    assert isinstance(found, dict)
    return " . ".join(map(str, found["concat"]))


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    name = f"tiphys-{secrets.token_hex(3)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield Kernel(name)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def check(kernel: Kernel, state: State) -> None:
    assert kernel.elements() == state.elements
    chains = {name for name in kernel.names("chain") if name.split("-")[0] in ("svc", "ext", "ep", "lb")}
    assert chains == state.chains.keys()
    assert {name for name in kernel.names("set") if name.startswith("aff-")} == state.sets.keys()


@given(st.lists(clusters(), min_size=2, max_size=5))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_states_is_applied_and_stands(kernel: Kernel, states: list[list[Port]]) -> None:
    old = State()
    kernel.apply(table(SETTING))
    for ports in states:
        new = state_of(ports)
        text = script(TABLE, old, new)
        if text:
            kernel.apply(text)
        check(kernel, new)
        old = new


def test_every_shape_of_service(kernel: Kernel) -> None:
    base = Port(
        name="default/web:http", protocol="tcp", port=80, cluster_ip="10.96.0.10", addresses=("192.0.2.1", "192.0.2.2"),
        node_port=30080, backends=TWO, external=TWO[:1], local=False, affinity=0,
        balanced=("192.0.2.2",), sources=("10.0.0.0/8", "192.0.2.0/24"),
    )  # fmt: skip
    kernel.apply(table(SETTING))
    old = State()
    for change in ({}, {"affinity": 60}, {"affinity": 90}, {"protocol": "udp"}, {"protocol": "sctp"}, {"external": TWO},
                   {"external": ()}, {"backends": (), "external": ()}, {"local": True}):  # fmt: skip
        new = state_of([replace(base, **change)])
        kernel.apply(script(TABLE, old, new))
        check(kernel, new)
        for chain, rules in new.chains.items():
            assert kernel.rules(chain) == len(rules)
        old = new


def test_a_table_made_anew_forgets_what_was_there(kernel: Kernel) -> None:
    port = Port(
        name="default/web:http", protocol="tcp", port=80, cluster_ip="10.96.0.10", addresses=(), node_port=0,
        backends=TWO, external=TWO, local=False, affinity=60,
    )  # fmt: skip
    kernel.apply(table(SETTING) + script(TABLE, State(), state_of([port])))
    empty = state_of([])
    kernel.apply(table(SETTING) + script(TABLE, State(), empty))
    check(kernel, empty)
