"""Nodes and pods for the scheduler's tests, written as manifests are."""

from __future__ import annotations

from typing import Any

import msgspec

from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.pod import PodInfo

Json = dict[str, Any]


def node_json(name: str, *, labels: Json | None = None, taints: list[Json] | None = None, **more: Any) -> Json:
    """A node of 4 cores and 8Gi; `cpu`, `memory`, `pods` or `allocatable` change that, other fields are its spec's."""
    room = {"cpu": more.pop("cpu", "4"), "memory": more.pop("memory", "8Gi"), "pods": more.pop("pods", "110")}
    room |= more.pop("allocatable", {})
    spec = {"taints": taints or [], **more}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": {"allocatable": room}}


def node(name: str, **more: Any) -> Node:
    return msgspec.convert(node_json(name, **more), Node)


def container(name: str = "c", **requests: str) -> Json:
    return {"name": name, "image": "i", "resources": {"requests": requests}}


def pod_json(
    name: str, *, uid: str = "", labels: Json | None = None, namespace: str = "default", **spec: Any
) -> Json:  # fmt: skip
    """A pod of one container; `cpu` and `memory` are its requests, other fields its spec's."""
    requests = {key: spec.pop(key) for key in ("cpu", "memory") if key in spec}
    spec.setdefault("containers", [container(**requests)])
    meta = {"name": name, "namespace": namespace, "uid": uid or name, "labels": labels or {}}
    return {"metadata": meta, "spec": spec}


def pod(name: str = "p", **spec: Any) -> Pod:
    return msgspec.convert(pod_json(name, **spec), Pod)


def info(name: str = "p", **spec: Any) -> PodInfo:
    return PodInfo(pod(name, **spec))


def cluster(*nodes: Node) -> Cluster:
    made = Cluster()
    for each in nodes:
        made.set_node(each)
    return made


def names(mask: Mask | None, of: Cluster) -> set[str]:
    """The names of the live nodes that a mask holds; None holds all."""
    return {each.metadata.name for row, each in of.nodes() if mask is None or mask[row]}
