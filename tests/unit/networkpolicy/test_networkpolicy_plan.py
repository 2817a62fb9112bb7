"""What policies allow between nine pods in three namespaces, as upstream's own tests ask it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from policy_objects import ADDRESSES, NAMESPACES, PODS, A, B, C, Json, namespace, pod, pods_of, policy, spaces_of

from tiphys.kinds.networking.networkpolicy import NetworkPolicy
from tiphys.networkpolicy.plan import World

ALL = set(ADDRESSES)


def reaches(policies: list[NetworkPolicy], target: str, port: int = 80, protocol: str = "tcp") -> set[str]:
    """Which pods can connect to the target."""
    isolated = World(policies, PODS, NAMESPACES).isolated(PODS)
    return {name for name, address in ADDRESSES.items() if isolated.admits(address, ADDRESSES[target], protocol, port)}


def ingress(peers: list[Json] | None = None, ports: list[Json] | None = None) -> list[Json]:
    rule: Json = {"from": peers} if peers is not None else {}
    return [rule | ({"ports": ports} if ports is not None else {})]


def test_without_a_policy_everybody_reaches_everybody() -> None:
    assert all(reaches([], target) == ALL for target in ADDRESSES)


def test_a_policy_without_rules_lets_nobody_in_but_the_pod_itself() -> None:
    closed = [policy("x", "deny", {}, ingress=[])]
    assert reaches(closed, "x/a") == {"x/a"}
    assert reaches(closed, "y/a") == ALL


def test_a_rule_without_peers_lets_everybody_in() -> None:
    assert reaches([policy("x", "allow", {}, ingress=[{}])], "x/a") == ALL


@pytest.mark.parametrize(
    ("peers", "who"),
    [
        ([pods_of(B)], {"x/a", "x/b"}),
        ([pods_of({})], {"x/a", "x/b", "x/c"}),
        ([spaces_of("y")], {"x/a", "y/a", "y/b", "y/c"}),
        ([{"namespaceSelector": {}}], ALL),
        ([pods_of(B) | spaces_of("y")], {"x/a", "y/b"}),
        ([pods_of(B), spaces_of("y")], {"x/a", "x/b", "y/a", "y/b", "y/c"}),
        ([pods_of({"pod": "none"})], {"x/a"}),
        ([{"ipBlock": {"cidr": "10.42.1.0/24", "except": ["10.42.1.3/32"]}}], {"x/a", "y/a", "y/c"}),
        ([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.42.0.0/23"]}}], {"x/a", "z/a", "z/b", "z/c"}),
        ([{"ipBlock": {"cidr": "fd00::/8"}}], {"x/a"}),
        (
            [{"podSelector": {"matchExpressions": [{"key": "pod", "operator": "In", "values": ["b", "c"]}]}}],
            {"x/a", "x/b", "x/c"},
        ),
        ([{"namespaceSelector": {"matchExpressions": [{"key": "ns", "operator": "NotIn", "values": ["y", "z"]}]}}],
         {"x/a", "x/b", "x/c"}),
    ],
)  # fmt: skip
def test_peers(peers: list[Json], who: set[str]) -> None:
    assert reaches([policy("x", "some", A, ingress=ingress(peers))], "x/a") == who
    assert reaches([policy("x", "some", A, ingress=ingress(peers))], "x/b") == ALL


@pytest.mark.parametrize(
    ("ports", "tcp", "udp"),
    [
        ([{"protocol": "TCP", "port": 80}], {80}, set()),
        ([{"protocol": "TCP", "port": "web"}], {80}, set()),
        ([{"protocol": "UDP", "port": "names"}], set(), {53}),
        ([{"protocol": "TCP", "port": "names"}], set(), set()),
        ([{"protocol": "UDP"}], set(), {53, 80, 81, 90}),
        ([{"protocol": "TCP", "port": 80, "endPort": 81}, {"protocol": "TCP", "port": 81, "endPort": 90}],
         {80, 81, 90}, set()),
        ([{"protocol": "TCP", "port": 53}, {"protocol": "UDP", "port": 53}], {53}, {53}),
        ([], {53, 80, 81, 90}, {53, 80, 81, 90}),
    ],
)  # fmt: skip
def test_ports(ports: list[Json], tcp: set[int], udp: set[int]) -> None:
    policies = [policy("x", "some", A, ingress=ingress(None, ports))]
    for protocol, open_ports in (("tcp", tcp), ("udp", udp)):
        found = {port for port in (53, 80, 81, 90) if "y/a" in reaches(policies, "x/a", port, protocol)}
        assert found == open_ports, protocol


def test_policies_add_up() -> None:
    policies = [policy("x", "deny", {}, ingress=[]), policy("x", "b", A, ingress=ingress([pods_of(B)])),
                policy("x", "c", A, ingress=ingress([pods_of(C)], [{"protocol": "TCP", "port": 81}]))]  # fmt: skip
    assert reaches(policies, "x/a", 80) == {"x/a", "x/b"}
    assert reaches(policies, "x/a", 81) == {"x/a", "x/b", "x/c"}


def test_both_ends_must_agree() -> None:
    leaves = policy("x", "out", A, egress=[{"to": [spaces_of("y")]}])
    enters = policy("y", "in", {}, ingress=ingress([spaces_of("x") | pods_of(B)]))
    assert reaches([leaves], "y/a") == ALL
    assert reaches([leaves], "z/a") == ALL - {"x/a"}
    assert reaches([leaves, enters], "y/a") == {"x/b", "y/a"}


def test_egress_to_named_ports_is_to_whoever_names_them() -> None:
    for peers in ([], [{"ipBlock": {"cidr": "10.42.0.0/16"}}], [spaces_of("y")]):
        rule: dict[str, Any] = {"to": peers, "ports": [{"protocol": "TCP", "port": "web"}]}
        out = [policy("x", "out", A, egress=[rule])]
        assert "x/a" in reaches(out, "y/a", 80)
        assert "x/a" not in reaches(out, "y/a", 81)


def test_types_and_rules_decide_the_direction() -> None:
    both = policy("x", "both", A, ingress=[], egress=[])
    assert reaches([both], "x/a") == {"x/a"}
    assert reaches([both], "y/a") == ALL - {"x/a"}


def test_pods_that_are_over_or_on_the_hosts_network_are_nobodys_peers() -> None:
    over = pod("x", "b", "10.42.0.9", status={"phase": "Succeeded"})
    host = pod("x", "b", "192.0.2.1", spec={"hostNetwork": True})
    guarded = policy("x", "b", A, ingress=ingress([pods_of(B)]))
    isolated = World([guarded], [*PODS, over, host], NAMESPACES).isolated([*PODS, over, host])
    for address in ("10.42.0.9", "192.0.2.1"):
        assert not isolated.admits(address, ADDRESSES["x/a"], "tcp", 80)
        assert address not in isolated.ingress


def test_pods_of_the_same_policies_share_an_isolation_and_names_last() -> None:
    policies = [policy("x", "deny", {}, ingress=[]), policy("x", "b", A, ingress=ingress([pods_of(B)]))]
    found = World(policies, PODS, NAMESPACES).isolated(PODS).ingress
    names = {key: found[address].name for key, address in ADDRESSES.items() if address in found}
    assert names["x/b"] == names["x/c"] != names["x/a"]
    fewer = World(reversed(policies), PODS[:3], [*NAMESPACES, namespace("w")]).isolated(PODS).ingress
    assert {found[key].name for key in fewer} == {each.name for each in fewer.values()}


def test_a_selector_stored_under_other_rules_selects_nothing() -> None:
    odd = {"podSelector": {"matchExpressions": [{"key": "pod", "operator": "Like", "values": ["b"]}]}}
    assert reaches([policy("x", "odd", A, ingress=ingress([odd]))], "x/a") == {"x/a"}


def test_every_pair_is_open_or_closed_alike_for_every_port_of_a_rule_without_ports() -> None:
    guarded = [policy(space, "same", {}, ingress=ingress([pods_of({})])) for space in "xyz"]
    for source, target in product(ADDRESSES, ADDRESSES):
        same = source[0] == target[0]
        assert (source in reaches(guarded, target, 4711, "udp")) == same
