"""Where claims of one shape fit: kept, and looked at again only where something changed."""

from __future__ import annotations

from device_objects import DRIVER, class_, device, exactly, slice_, spec
from scheduler_objects import cluster, names, node

from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.devices.inventory import Inventory
from tiphys.scheduler.devices.shapes import Shape
from tiphys.scheduler.devices.usage import Usage
from tiphys.scheduler.devices.wanted import wanted

CLASSES = {"gpu": class_()}
NUMA = f"{DRIVER}/numa"


def publish(inventory: Inventory, *nodes: str, devices: int = 1) -> None:
    for name in nodes:
        found = [device(f"d{number}", attributes={"numa": number // 2}) for number in range(devices)]
        inventory.set_slice(None, slice_(name, found))


def fitting(shape: Shape, nodes: Cluster, inventory: Inventory, used: Usage) -> set[str]:
    return names(shape.mask(nodes, inventory, used), nodes)


def use(inventory: Inventory, used: Usage, shape: Shape, name: str, sign: int = 1) -> None:
    used.count((DRIVER, name, "d0"), None, sign)
    shape.changed(inventory.pools[DRIVER, name])


def test_what_is_given_and_freed_counts_at_once() -> None:
    nodes, inventory, used = cluster(node("a"), node("b"), node("c")), Inventory(), Usage()
    publish(inventory, "a", "b")
    shape = Shape([wanted(spec(), CLASSES)])
    assert fitting(shape, nodes, inventory, used) == {"a", "b"}
    use(inventory, used, shape, "a")
    assert fitting(shape, nodes, inventory, used) == {"b"}
    use(inventory, used, shape, "a", -1)
    assert fitting(shape, nodes, inventory, used) == {"a", "b"}


def test_nodes_and_slices_that_come_and_go_count_at_once() -> None:
    nodes, inventory, used = cluster(node("a")), Inventory(), Usage()
    publish(inventory, "a", "b")
    shape = Shape([wanted(spec(), CLASSES)])
    assert fitting(shape, nodes, inventory, used) == {"a"}
    nodes.set_node(node("b"))
    assert fitting(shape, nodes, inventory, used) == {"a", "b"}
    inventory.set_slice(slice_("a", [device("d0", attributes={"numa": 0})]), None)
    assert fitting(shape, nodes, inventory, used) == {"b"}
    nodes.remove_node("b")
    assert fitting(shape, nodes, inventory, used) == set()


def test_a_device_that_all_reach_counts_for_all() -> None:
    nodes, inventory, used = cluster(node("a"), node("b")), Inventory(), Usage()
    inventory.set_slice(None, slice_("net", [device("d0")], allNodes=True))
    shape = Shape([wanted(spec(), CLASSES)])
    assert fitting(shape, nodes, inventory, used) == {"a", "b"}
    use(inventory, used, shape, "net")
    assert fitting(shape, nodes, inventory, used) == set()


def test_claims_that_are_hard_to_satisfy_are_tried_on_some_nodes_and_later_on_more() -> None:
    several = [f"n{number}" for number in range(8)]
    nodes, inventory, used = cluster(*map(node, [*several, "z"])), Inventory(), Usage()
    publish(inventory, *several, devices=40)
    hard = spec(exactly(count=21), constraints=[{"distinctAttribute": NUMA}])
    shape = Shape([wanted(hard, CLASSES)])
    assert fitting(shape, nodes, inventory, used) == set()
    told = shape.reasons(nodes.live)
    later = "the claims are too hard to satisfy to be tried on all nodes at once"
    assert told[later] > 0
    assert fitting(shape, nodes, inventory, used) == set()
    assert later not in shape.reasons(nodes.live)
