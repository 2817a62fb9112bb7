"""ImageLocality: where the images are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from scheduler_objects import cluster, container, info, node_json

from tiphys.kinds.core.node import Node
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.plugins.image_locality import ImageLocality
from tiphys.scheduler.pod import PodInfo

MIB = 1024 * 1024


def node(name: str, **images: int) -> Node:
    """A node with images of so many MiB."""
    made = node_json(name)
    listed = [{"names": [f"{image}:latest"], "sizeBytes": size * MIB} for image, size in images.items()]
    made["status"]["images"] = listed
    return msgspec.convert(made, Node)


def using(*images: str) -> PodInfo:
    return info("p", containers=[{**container(f"c{number}"), "image": image} for number, image in enumerate(images)])


def scores(of: Cluster, made: PodInfo) -> dict[str, float] | None:
    found: Any = ImageLocality().score(made, of)
    return None if found is None else {each.metadata.name: float(found[row]) for row, each in of.nodes()}


def test_the_larger_image_and_the_more_nodes_that_have_it() -> None:
    of = cluster(node("a", big=2000), node("b", big=2000, small=100), node("c"), node("d"))
    found = scores(of, using("big"))
    assert found is not None
    assert found["a"] == pytest.approx(100)
    assert found["c"] == 0
    found = scores(of, using("small"))
    assert found is not None
    assert 0 < found["b"] < 1


def test_nobody_has_it() -> None:
    assert scores(cluster(node("a")), using("x")) is None


@pytest.mark.parametrize("image", ["big", "big:latest"])
def test_what_nodes_have_is_followed(image: str) -> None:
    of = cluster(node("a", big=1000), node("b"))
    assert scores(of, using(image)) is not None
    of.set_node(node("a"))
    assert scores(of, using(image)) is None
    of.set_node(node("b", big=1000))
    found = scores(of, using(image))
    assert found is not None
    assert found["b"] > found["a"]
    of.remove_node("b")
    assert scores(of, using(image)) is None


def test_a_registry_with_a_port_is_no_tag() -> None:
    made = node_json("a")
    made["status"]["images"] = [{"names": ["localhost:5000/x:latest"], "sizeBytes": 500 * MIB}]
    of = cluster(msgspec.convert(made, Node))
    assert scores(of, using("localhost:5000/x")) is not None
