"""When workloads go to zero and come back: the pure plan, and the controller before a server."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.controllers.scale_to_zero import Plan, ScaleToZeroController, plan
from tiphys.kinds.apps.deployment import DEPLOYMENTS, Deployment, DeploymentSpec
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.service import SERVICES
from tiphys.kinds.core.sleep import AFTER, BEFORE, TRAFFIC, Use, decode, encode

NOW = 1000.0


def deployment(replicas: int, before: str = "") -> Deployment:
    from tiphys.api.meta import ObjectMeta

    meta = ObjectMeta(name="web", annotations={BEFORE: before} if before else {})
    return Deployment(metadata=meta, spec=DeploymentSpec(replicas=replicas))


def test_unused_for_long_enough_is_put_to_sleep() -> None:
    assert plan(60, [Use(False, NOW - 100)], [deployment(3)], 0, NOW).replicas == {0: 0}


def test_what_was_used_on_any_node_stays_awake() -> None:
    planned = plan(60, [Use(False, 0), Use(False, NOW - 10)], [deployment(3)], 0, NOW)
    assert planned == Plan({}, 80.0)


def test_it_is_given_its_time_after_it_was_woken() -> None:
    assert plan(60, [], [deployment(1)], NOW - 5, NOW).replicas == {}


def test_whoever_waits_wakes_it_with_as_many_as_it_had() -> None:
    uses = [Use(False, 0), Use(True, 0)]
    assert plan(60, uses, [deployment(0, "3"), deployment(0, "none"), deployment(2)], 0, NOW).replicas == {0: 3, 1: 1}


def test_nothing_is_put_to_sleep_while_somebody_waits() -> None:
    assert plan(60, [Use(True, 0)], [deployment(3)], 0, NOW) == Plan({})


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '{"a": 1}'])
def test_a_report_that_is_none_says_nothing(text: str) -> None:
    assert decode(text) == {}


def test_reports_come_back_as_they_were_told() -> None:
    uses = {"default/web": Use(True, 12.0), "other/x": Use(False, 0.0)}
    assert decode(encode(uses)) == uses


async def test_a_workload_sleeps_and_wakes_by_what_nodes_tell(cluster: Any) -> None:
    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": pod}
    await cluster.create(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": spec})
    service = {"metadata": {"name": "web", "annotations": {AFTER: "60s"}},
               "spec": {"selector": labels, "ports": [{"port": 80}]}}  # fmt: skip
    await cluster.create(SERVICES, service)
    await cluster.create(NODES, {"metadata": {"name": "n"}})
    cluster.start(ScaleToZeroController)

    async def replicas(wanted: int) -> bool:
        await cluster.clock.advance(1)
        found = await cluster.get(DEPLOYMENTS, "web")
        return bool(found["spec"]["replicas"] == wanted)

    await cluster.until(lambda: replicas(0))
    found = await cluster.get(DEPLOYMENTS, "web")
    assert found["metadata"]["annotations"][BEFORE] == "3"
    told = {"metadata": {"annotations": {TRAFFIC: encode({"default/web": Use(True, 0)})}}}
    await cluster.patch(NODES, "n", told)
    await cluster.until(lambda: replicas(3))
    assert BEFORE not in ((await cluster.get(DEPLOYMENTS, "web"))["metadata"].get("annotations") or {})
