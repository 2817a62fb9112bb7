"""The overlay's entries: what follows from Node objects, and that every change of them is legal and whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from overlay_kernel import Kernel, node

from tiphys.kinds.core.node import Node
from tiphys.overlay.plan import State, changes, gateway, hardware_address, ranges, wanted

ONE = node("one", "10.42.0.0/24", "192.0.2.1")
TWO = node("two", "10.42.1.0/24", "192.0.2.2")


@st.composite
def clusters(draw: st.DrawFn) -> list[Node]:
    """Nodes with ranges and addresses of their own, some of them without one yet."""
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True))
    numbers = st.lists(st.integers(0, 9), unique=True, min_size=len(names), max_size=len(names))
    complete = draw(st.lists(st.booleans(), min_size=len(names), max_size=len(names)))
    found = zip(names, draw(numbers), draw(numbers), complete, strict=True)
    return [node(name, f"10.42.{cidr}.0/24", f"192.0.2.{address}" if has else "") for name, cidr, address, has in found]


@given(st.lists(clusters(), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_a_change_leads_from_any_state_to_any_other(states: list[list[Node]]) -> None:
    kernel, old = Kernel(), State()
    for nodes in states:
        new = wanted(nodes, "a")
        kept = {cidr: via for cidr, via in new.routes.items() if old.routes.get(cidr) == via}
        needed = changes("vx0", old, new)
        for lines, program in ((needed.ip_before, "ip"), (needed.bridge, "bridge"), (needed.ip_after, "ip")):
            kernel.run(lines)
            assert all(line.startswith("fdb") == (program == "bridge") for line in lines)
            assert kept.keys() <= kernel.routes.keys()
        assert kernel.state == new
        again = changes("vx0", new, wanted(reversed(nodes), "a"))
        assert (again.ip_before, again.bridge, again.ip_after) == ([], [], [])
        for item in nodes:
            if item.metadata.name != "a" and item.address():
                assert kernel.reaches(item.spec.pod_cidr) == item.address()
        old = new


def test_every_node_but_our_own_is_reached_through_three_entries() -> None:
    mac = hardware_address("two")
    assert wanted([ONE, TWO], "one") == State(
        {"10.42.1.0/24": "10.42.1.0"}, {"10.42.1.0": mac}, {mac: "192.0.2.2"}
    )


def test_a_way_is_used_only_once_it_is_complete() -> None:
    needed = changes("vx0", State(), wanted([ONE, TWO], "one"))
    assert [line.split()[0] for line in needed.ip_before] == ["neigh"]
    assert [line.split()[0] for line in needed.ip_after] == ["route"]
    gone = changes("vx0", wanted([ONE, TWO], "one"), State())
    assert [line.split()[0] for line in gone.ip_before] == ["route"]
    assert [line.split()[0] for line in gone.ip_after] == ["neigh"]


def test_nodes_that_are_not_complete_are_waited_for() -> None:
    assert wanted([node("new", "", "192.0.2.3"), node("newer", "10.42.3.0/24")], "one") == State()
    six = node("six", "10.42.4.0/24", "2001:db8::4")
    assert wanted([six], "one") == State()


def test_the_ipv4_range_of_two_is_taken() -> None:
    assert ranges(node("dual", "fd00:1::/64", "192.0.2.4", "10.42.4.0/24")) == ["10.42.4.0/24"]


def test_hardware_addresses_are_of_ones_own_and_no_groups() -> None:
    found = {hardware_address(f"node-{number}") for number in range(500)}
    assert len(found) == 500
    assert {int(mac.split(":")[0], 16) & 3 for mac in found} == {2}
    assert hardware_address("node-1") == hardware_address("node-1")
    assert gateway("10.42.7.0/24") == "10.42.7.0"
