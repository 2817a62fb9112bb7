"""Ports as nftables: what the table holds, and that a change from any state to any other is legal and complete."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from nft_simulator import Table
from proxy_objects import clusters

from tiphys.node.nft_state import State, script
from tiphys.proxy.plan import Port
from tiphys.proxy.rules import Setting, state_of, table

SETTING, TABLE = Setting("tiphys", "10.42.0.0/16", "br0"), "ip tiphys"
TWO = (("10.42.0.1", 8080), ("10.42.0.2", 8080))
WEB = Port(
    name="default/web:http", protocol="tcp", port=80, cluster_ip="10.96.0.10", addresses=(), node_port=0,
    backends=TWO, external=TWO, local=False, affinity=0,
)  # fmt: skip


@given(st.lists(clusters(), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_every_change_leaves_what_making_the_table_anew_would(states: list[list[Port]]) -> None:
    kernel, old = Table(), State()
    for ports in states:
        new = state_of(ports)
        kernel.run(script(TABLE, old, new))
        assert kernel.holds(new)
        assert script(TABLE, new, state_of(ports)) == ""
        old = new
    kernel.run(script(TABLE, old, State(elements={name: {} for name in old.elements})))
    assert kernel == Table()


def rules(state: State, element: str, place: str = "services") -> tuple[str, ...]:
    """The rules of the chain that an element leads to."""
    return state.chains[state.elements[place][element].removeprefix("goto ")]


def test_a_service_is_one_look_up_and_one_rule() -> None:
    (rule,) = rules(state_of([WEB]), "10.96.0.10 . tcp . 80")
    choices = "{ 0 : 10.42.0.1 . 8080, 1 : 10.42.0.2 . 8080 }"
    assert rule == f"meta l4proto tcp dnat ip to numgen random mod 2 map {choices}"


def test_a_service_without_endpoints_refuses() -> None:
    state = state_of([replace(WEB, backends=(), external=(), addresses=("192.0.2.1",))])
    refused = {"10.96.0.10 . tcp . 80": "goto refuse", "192.0.2.1 . tcp . 80": "goto refuse"}
    assert state.elements["refused"] == refused
    assert state.elements["services"] == {}


def test_traffic_from_outside_takes_the_nodes_address_unless_it_stays_local() -> None:
    state = state_of([replace(WEB, node_port=30080)])
    mark, jump = rules(state, "tcp . 30080", "nodeports")
    assert mark == "meta mark set meta mark or 0x4000"
    assert jump == state.elements["services"]["10.96.0.10 . tcp . 80"]
    local = state_of([replace(WEB, node_port=30080, local=True, external=TWO[:1])])
    assert rules(local, "tcp . 30080", "nodeports") == ("meta l4proto tcp dnat to 10.42.0.1:8080",)


def test_sources_limit_load_balancers_but_neither_node_ports_nor_external_addresses() -> None:
    limited = replace(WEB, node_port=30080, addresses=("192.0.2.1", "192.0.2.9"), balanced=("192.0.2.1",),
                      sources=("198.51.100.0/24",))  # fmt: skip
    state = state_of([limited])
    first, *rest = rules(state, "192.0.2.1 . tcp . 80")
    assert first == "ip saddr != { 198.51.100.0/24 } drop"
    assert rest == [state.elements["nodeports"]["tcp . 30080"]]
    assert "drop" not in " ".join(rules(state, "tcp . 30080", "nodeports"))
    assert "drop" not in " ".join(rules(state, "192.0.2.9 . tcp . 80"))


def test_affinity_remembers_clients_for_so_long() -> None:
    state = state_of([replace(WEB, affinity=60)])
    assert ["timeout 60s" in kind for kind in state.sets.values()] == [True, True]
    *remembered, choose = rules(state, "10.96.0.10 . tcp . 80")
    assert len(remembered) == 2
    assert choose.startswith("numgen random mod 2 vmap")
    other = state_of([replace(WEB, affinity=90)])
    assert not state.sets.keys() & other.sets.keys()


def test_a_pod_that_reaches_itself_takes_another_address() -> None:
    assert state_of([WEB]).elements["hairpins"].keys() == {"10.42.0.1 . 10.42.0.1", "10.42.0.2 . 10.42.0.2"}


def test_only_what_differs_is_in_a_script() -> None:
    ports = [replace(WEB, name=f"default/s{n}:http", cluster_ip=f"10.96.1.{n}") for n in range(100)]
    old = state_of(ports)
    new = state_of([replace(ports[0], backends=TWO[:1], external=TWO[:1]), *ports[1:]])
    assert len(script(TABLE, old, new).splitlines()) == 2


def test_the_table_is_made_anew_whatever_was_there() -> None:
    text = table(SETTING)
    assert text.startswith("add table ip tiphys\ndelete table ip tiphys\n")
    assert "10.42.0.0/16" in text


def test_use_of_a_service_that_may_sleep_is_counted() -> None:
    state = state_of([replace(WEB, counter="use-web")])
    assert state.counters == {"use-web"}
    assert state.elements["used"] == {"10.42.0.1": '"use-web"', "10.42.0.2": '"use-web"'}
    assert state_of([WEB]).elements["used"] == {}
