"""Nothing is retried without a reason: what each plugin thinks of what happened."""

from __future__ import annotations

from typing import Any

import pytest
from scheduler_objects import Json, container, info, node

from tiphys.kinds.core.node import Node
from tiphys.scheduler.plugin import NODE_CHANGED, POD_PLACED, POD_REMOVED, Plugin
from tiphys.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from tiphys.scheduler.plugins.node_affinity import NodeAffinity
from tiphys.scheduler.plugins.node_name import NodeName
from tiphys.scheduler.plugins.node_ports import NodePorts
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit
from tiphys.scheduler.plugins.node_unschedulable import NodeUnschedulable
from tiphys.scheduler.plugins.pod_topology_spread import PodTopologySpread
from tiphys.scheduler.plugins.taint_toleration import TaintToleration
from tiphys.scheduler.pod import PodInfo

TERM = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}}
SPREAD = {**TERM, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
TAINT = {"key": "k", "effect": "NoSchedule"}
DB, OTHER = info("db", labels={"app": "db"}), info("other", labels={"app": "web"})


def required(side: str) -> Json:
    return {side: {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}


def port(number: int) -> list[Json]:
    return [{**container(), "ports": [{"containerPort": 1, "hostPort": number}]}]


@pytest.mark.parametrize(
    ("plugin", "spec", "event", "helpful", "useless"),
    [
        (NodeResourcesFit(), {"cpu": "2"}, NODE_CHANGED, node("a", cpu="2"), node("a", cpu="1")),
        (NodeUnschedulable(), {}, NODE_CHANGED, node("a"), node("a", unschedulable=True)),
        (TaintToleration(), {}, NODE_CHANGED, node("a"), node("a", taints=[TAINT])),
        (NodeAffinity(), {"nodeSelector": {"x": "y"}}, NODE_CHANGED, node("a", labels={"x": "y"}), node("a")),
        (NodeName(), {"nodeName": "a"}, NODE_CHANGED, node("a"), node("b")),
        (NodePorts(), {"containers": port(80)}, POD_REMOVED, info(containers=port(80)), info(containers=port(81))),
        (InterPodAffinity(), {"affinity": required("podAffinity")}, POD_PLACED, DB, OTHER),
        (InterPodAffinity(), {"affinity": required("podAntiAffinity")}, POD_REMOVED, DB, OTHER),
        (PodTopologySpread(), {"topologySpreadConstraints": [SPREAD]}, POD_REMOVED, DB, OTHER),
        (
            PodTopologySpread(), {"topologySpreadConstraints": [SPREAD]}, NODE_CHANGED,
            node("a", labels={"zone": "z"}), node("a"),
        ),
    ],
)  # fmt: skip
def test_hints(
    plugin: Plugin, spec: dict[str, Any], event: str, helpful: Node | PodInfo, useless: Node | PodInfo
) -> None:  # fmt: skip
    made = info("p", **spec)
    assert event in plugin.retry_on
    assert plugin.helps(made, event, helpful)
    assert not plugin.helps(made, event, useless)


def test_who_kept_the_pod_away_and_goes_helps() -> None:
    loner = info("loner", affinity=required("podAntiAffinity"))
    assert InterPodAffinity().helps(DB, POD_REMOVED, loner)
    assert not InterPodAffinity().helps(OTHER, POD_REMOVED, loner)
