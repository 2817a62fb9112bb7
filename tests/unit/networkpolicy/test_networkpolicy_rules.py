"""Isolations as nftables: a change from any state to any other is legal and complete, and says what the plan says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_objects import NAMESPACES, PODS, A, B, pods_of, policy, spaces_of

sys.path.append(str(Path(__file__).parents[1] / "proxy"))
from nft_simulator import Table

from tiphys.kinds.networking.networkpolicy import NetworkPolicy
from tiphys.networkpolicy.plan import World
from tiphys.networkpolicy.rules import state_of
from tiphys.node.nft_state import State, script

BLOCKS = [{"ipBlock": {"cidr": "10.42.1.0/24", "except": ["10.42.1.3/32"]}}, {"ipBlock": {"cidr": "0.0.0.0/0"}}]
PEERS = [pods_of(A), pods_of(B), spaces_of("y"), pods_of({}) | spaces_of("z"), *BLOCKS]
PORTS = [{"protocol": "TCP", "port": 80}, {"protocol": "UDP", "port": "names"}, {"protocol": "SCTP"},
         {"protocol": "TCP", "port": 8000, "endPort": 8100}]  # fmt: skip


def rules(who: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    few = {"max_size": 3, "unique_by": str}
    one = st.fixed_dictionaries({who: st.lists(st.sampled_from(PEERS), **few),
                                 "ports": st.lists(st.sampled_from(PORTS), **few)})  # fmt: skip
    return st.lists(one, max_size=2)


@st.composite
def policies(draw: st.DrawFn) -> list[NetworkPolicy]:
    names = draw(st.lists(st.sampled_from("pqr"), max_size=3, unique=True))
    found = []
    for name in names:
        spec = draw(st.fixed_dictionaries({}, optional={"ingress": rules("from"), "egress": rules("to")}))
        found.append(policy(draw(st.sampled_from("xy")), name, draw(st.sampled_from([A, {}])), **spec))
    return found


def held(given: list[NetworkPolicy], count: int = 9) -> State:
    return state_of(World(given, PODS[:count], NAMESPACES).isolated(PODS[:count]))


@given(st.lists(st.tuples(policies(), st.integers(0, 9)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_every_change_leaves_what_making_the_table_anew_would(states: list[tuple[list[NetworkPolicy], int]]) -> None:
    empty = {"egress": {}, "ingress": {}, "selves": {}}
    kernel, old = Table(elements=dict(empty)), State(elements=dict(empty))
    kernel.elements = {name: {} for name in empty}
    for given_policies, count in states:
        new = held(given_policies, count)
        kernel.run(script("ip t", old, new))
        assert kernel.holds(new)
        assert script("ip t", new, held(given_policies, count)) == ""
        old = new


def chain(state: State, place: str, address: str) -> tuple[str, ...]:
    return state.chains[state.elements[place][address].removeprefix("jump ")]


def test_a_pod_is_two_look_ups_away_from_its_rules() -> None:
    rule = {"from": [pods_of(B), *BLOCKS], "ports": PORTS[:2]}
    state = held([policy("x", "p", A, ingress=[rule])])
    (members,) = [name for name in state.sets if name.startswith("peers-")]
    (named,) = [name for name in state.sets if name.startswith("named-")]
    assert state.elements[members] == {"10.42.0.3": ""}
    assert state.elements[named] == {"10.42.0.2 . udp . 53": ""}
    ports = ("tcp dport { 80 }", f"ip daddr . meta l4proto . th dport @{named}")
    who = (f"ip saddr @{members}", "ip saddr 10.42.1.0/24 ip saddr != { 10.42.1.3/32 }", "")
    assert chain(state, "ingress", "10.42.0.2") == (
        *(" ".join(filter(None, (one, port, "return"))) for one in who for port in ports), "drop",
    )  # fmt: skip


def test_who_is_a_peer_changes_elements_only() -> None:
    few, many = (held([policy("x", "p", A, ingress=[{"from": [{"namespaceSelector": {}}]}])], n) for n in (3, 9))
    lines = script("ip t", few, many).splitlines()
    assert [line.split(" ", 4)[:2] for line in lines] == [["add", "element"]]


def test_ranges_and_whole_protocols() -> None:
    state = held([policy("x", "p", A, egress=[{"ports": [PORTS[2], PORTS[3], PORTS[0]]}])])
    assert chain(state, "egress", "10.42.0.2") == (
        "meta l4proto sctp return", "tcp dport { 80, 8000-8100 } return", "drop",
    )  # fmt: skip
