"""The HorizontalPodAutoscaler before a server whose metrics the test makes."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from autoscaled import resource, spec
from crews import CREWS, crew

from tiphys.api.errors import NotFound, ServiceUnavailable
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.controllers.deployment import DeploymentController
from tiphys.controllers.horizontalpodautoscaler import HorizontalPodAutoscalerController
from tiphys.controllers.replicaset import ReplicaSetController
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.apps.statefulset import STATEFUL_SETS
from tiphys.kinds.autoscaling.horizontalpodautoscaler import HORIZONTAL_POD_AUTOSCALERS
from tiphys.kinds.autoscaling.horizontalpodautoscaler_v1 import HORIZONTAL_POD_AUTOSCALERS_V1
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.pod import PODS

CPU = resource({"type": "Utilization", "averageUtilization": 50})
QUEUE = {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"}}}


class Metrics:
    """A transport that answers for the metrics APIs and asks the server for all else."""

    def __init__(self, cluster: Any) -> None:
        self._cluster, self._transport = cluster, cluster.transport
        self.usage: Any = "50m"
        self.age = 0.0
        self.values: dict[str, Any] = {}
        self.asked: list[str] = []
        self.hangs = False
        cluster.transport = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def send(self, method: str, path: str, **options: Any) -> bytes:
        if not path.startswith("/apis/") or ".metrics.k8s.io/" not in path.replace("/metrics.k8s", "/.metrics.k8s"):
            data: bytes = await self._transport.send(method, path, **options)
            return data
        self.asked.append(path)
        if path.startswith("/apis/metrics.k8s.io/"):
            return await self._pods(path)
        if self.hangs:
            await asyncio.Event().wait()
        name = path.rpartition("/")[2]
        if name not in self.values:
            raise NotFound(f"the server could not find the metric {name}")
        items = [{"timestamp": self._stamp(), "value": value} for value in self.values[name]]
        return orjson.dumps({"items": items})

    async def _pods(self, path: str) -> bytes:
        if isinstance(self.usage, Exception):
            raise self.usage
        if isinstance(self.usage, bytes):
            return self.usage
        pods = await self._cluster.list(PODS, path.split("/")[5])
        return orjson.dumps({"items": [
            {"metadata": {"name": pod.metadata.name}, "timestamp": self._stamp(), "window": "5s",
             "containers": [{"name": "app", "usage": {"cpu": self.usage}}]}
            for pod in pods
        ]})  # fmt: skip

    def _stamp(self) -> str:
        return rfc3339(self._cluster.clock.time() - self.age)


async def workload(cluster: Any, name: str = "web", replicas: int = 2, labels: Json | None = None) -> None:
    labels = labels or {"app": name}
    container = {"name": "app", "image": "i", "resources": {"requests": {"cpu": "100m"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    await cluster.create(DEPLOYMENTS, {"metadata": {"name": name}, "spec": body})


async def autoscaler(cluster: Any, name: str = "web", **fields: Any) -> None:
    fields.setdefault("metrics", [CPU])
    fields.setdefault("scaleTargetRef", {"apiVersion": "apps/v1", "kind": "Deployment", "name": name})
    await cluster.create(HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": name}, "spec": spec(**fields)})


@pytest.fixture
async def metrics(cluster: Any) -> Metrics:
    cluster.start(DeploymentController)
    cluster.start(ReplicaSetController)
    found = Metrics(cluster)
    cluster.start(HorizontalPodAutoscalerController)
    return found


async def running(cluster: Any, count: int) -> None:
    """Until so many pods are ready, and have been for long."""

    async def check() -> bool:
        await cluster.run_pods()
        pods = await cluster.list(PODS, "default")
        for pod in pods:
            if pod.status.start_time is None:
                start = {"status": {"startTime": rfc3339(cluster.clock.time())}}
                await cluster.patch(PODS, pod.metadata.name, start, subresource="status")
        return len(pods) == count and all(pod.ready for pod in pods)

    await cluster.until(check, f"{count} pods")


async def told(cluster: Any, kind: str, reason: str, name: str = "web") -> Json:
    """The autoscaler's status, once its condition `kind` has the reason."""

    async def check() -> Json | None:
        await cluster.clock.advance(1)
        found = await cluster.get(HORIZONTAL_POD_AUTOSCALERS, name)
        conditions = {each["type"]: each for each in (found.get("status") or {}).get("conditions") or ()}
        return found["status"] if conditions.get(kind, {}).get("reason") == reason else None

    found: Json = await cluster.until(check, f"{kind} {reason}")
    return found


def message(status: Json, kind: str) -> str:
    text: str = next(each["message"] for each in status["conditions"] if each["type"] == kind)
    return text


async def sized(cluster: Any, replicas: int, name: str = "web", kind: Any = DEPLOYMENTS) -> None:
    async def check() -> bool:
        await cluster.clock.advance(1)
        return bool((await cluster.get(kind, name))["spec"]["replicas"] == replicas)

    await cluster.until(check, f"{replicas} replicas")


async def test_it_grows_with_its_load_and_shrinks_after_five_minutes(cluster: Any, metrics: Metrics) -> None:
    await workload(cluster)
    await running(cluster, 2)
    metrics.usage = "125m"
    await autoscaler(cluster)
    await sized(cluster, 4)
    await running(cluster, 4)
    status = await told(cluster, "AbleToScale", "SucceededRescale")
    assert status["lastScaleTime"]
    assert (status["currentReplicas"], status["desiredReplicas"], status["observedGeneration"]) == (2, 4, 1)
    assert status["currentMetrics"][0]["resource"]["current"] == {"averageUtilization": 125, "averageValue": "125m"}
    metrics.usage = "5m"
    await told(cluster, "AbleToScale", "ScaleDownStabilized")
    await sized(cluster, 1)
    events = [event.reason for event in await cluster.list(EVENTS, "default")]
    assert "SuccessfulRescale" in events
    shown = await cluster.get(HORIZONTAL_POD_AUTOSCALERS_V1, "web")
    assert shown["spec"]["targetCPUUtilizationPercentage"] == 50
    assert shown["status"]["desiredReplicas"] == 1


LYING = [
    ServiceUnavailable("the metrics server is away"), b"{", b'{"items": {"no": "list"}}', b'{"items": []}',
    "NaN", "-5", "1e400x", "Inf", None, True, {"a": 1},
]  # fmt: skip


@pytest.mark.parametrize("usage", LYING, ids=repr)
async def test_metrics_that_cannot_be_true_take_nothing_away(cluster: Any, metrics: Metrics, usage: Any) -> None:
    await workload(cluster)
    await running(cluster, 2)
    await autoscaler(cluster, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    await told(cluster, "ScalingActive", "ValidMetricFound")
    metrics.usage = usage
    status = await told(cluster, "ScalingActive", "FailedGetResourceMetric")
    assert status["desiredReplicas"] == 2
    assert "failed to get cpu utilization: " in message(status, "ScalingActive")
    metrics.usage = "60m"
    await told(cluster, "ScalingActive", "ValidMetricFound")


async def test_old_metrics_take_nothing_away(cluster: Any, metrics: Metrics) -> None:
    await workload(cluster)
    await running(cluster, 2)
    metrics.usage, metrics.age = "1m", 600.0
    await autoscaler(cluster, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    status = await told(cluster, "ScalingActive", "FailedGetResourceMetric")
    assert "too old" in message(status, "ScalingActive")


@pytest.mark.parametrize("value", ["-1", "nan", "Infinity", "", None])
async def test_a_lying_adapter_takes_nothing_away(cluster: Any, metrics: Metrics, value: Any) -> None:
    await workload(cluster)
    await running(cluster, 2)
    metrics.values["queue"] = ["1", value]
    await autoscaler(cluster, metrics=[QUEUE], behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    status = await told(cluster, "ScalingActive", "FailedGetExternalMetric")
    assert "cannot be true" in message(status, "ScalingActive")
    assert status["currentReplicas"] == 2


async def test_external_values_are_summed(cluster: Any, metrics: Metrics) -> None:
    await workload(cluster)
    await running(cluster, 2)
    metrics.values["queue"] = ["12", "8500m"]
    await autoscaler(cluster, metrics=[QUEUE])
    await sized(cluster, 4)
    assert metrics.asked[0] == "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue"


async def test_object_metrics_are_asked_for_by_resource(cluster: Any, metrics: Metrics) -> None:
    await workload(cluster)
    await running(cluster, 2)
    metrics.values["rps"] = ["40"]
    metric = {
        "metric": {"name": "rps"}, "target": {"type": "Value", "value": "20"},
        "describedObject": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "main"},
    }  # fmt: skip
    await autoscaler(cluster, metrics=[{"type": "Object", "object": metric}])
    await sized(cluster, 4)
    path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/ingresses.networking.k8s.io/main/rps"
    assert path in metrics.asked


async def test_two_autoscalers_on_one_target_do_nothing(cluster: Any, metrics: Metrics) -> None:
    await workload(cluster)
    await running(cluster, 2)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    await autoscaler(cluster, "a", scaleTargetRef=target)
    await autoscaler(cluster, "b", scaleTargetRef=target)
    for name in ("a", "b"):
        status = await told(cluster, "ScalingActive", "AmbiguousSelector", name)
        assert message(status, "ScalingActive").endswith("[default/a default/b]")
    await cluster.delete(HORIZONTAL_POD_AUTOSCALERS, "b")
    await told(cluster, "ScalingActive", "ValidMetricFound", "a")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}, 'deployments.apps "none" not found'),
        ({"apiVersion": "x.org/v1", "kind": "Thing", "name": "a"}, 'no matches for kind "Thing" in group "x.org"'),
        ({"apiVersion": "a/b/c", "kind": "Deployment", "name": "a"}, "unexpected GroupVersion string: a/b/c"),
    ],
)
async def test_a_target_that_is_not_there(cluster: Any, metrics: Metrics, target: Json, text: str) -> None:
    await autoscaler(cluster, scaleTargetRef=target)
    status = await told(cluster, "AbleToScale", "FailedGetScale")
    assert message(status, "AbleToScale") == f"the HPA controller was unable to get the target's current scale: {text}"


async def test_anything_with_a_scale_is_scaled(cluster: Any, metrics: Metrics) -> None:
    await crew(cluster, replicas=3)
    metrics.values["queue"] = ["20"]
    await autoscaler(cluster, maxReplicas=2, scaleTargetRef={"apiVersion": "argo.org/v1", "kind": "Crew", "name": "c"})
    await sized(cluster, 2, "c", CREWS)


async def test_a_statefulset_below_its_least(cluster: Any, metrics: Metrics) -> None:
    labels = {"app": "db"}
    body = {
        "replicas": 1, "serviceName": "db", "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }  # fmt: skip
    await cluster.create(STATEFUL_SETS, {"metadata": {"name": "db"}, "spec": body})
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}
    await autoscaler(cluster, "db", scaleTargetRef=target, minReplicas=3)
    await sized(cluster, 3, "db", STATEFUL_SETS)


async def test_nothing_is_asked_while_there_is_no_autoscaler(cluster: Any, metrics: Metrics) -> None:
    await workload(cluster)
    await running(cluster, 2)
    await cluster.clock.advance(60)
    assert not metrics.asked


async def test_the_autoscalers_of_a_namespace_share_one_list(cluster: Any, metrics: Metrics) -> None:
    names = [f"web-{index}" for index in range(5)]
    for name in names:
        await workload(cluster, name, 1)
    await running(cluster, 5)
    for name in names:
        await autoscaler(cluster, name)
    for name in names:
        await told(cluster, "ScalingActive", "ValidMetricFound", name)
    metrics.asked.clear()
    for _ in range(50):
        await cluster.clock.advance(1)
    assert 9 <= len(metrics.asked) <= 11


async def test_a_clock_that_cannot_be_read_is_told_of(cluster: Any, metrics: Metrics) -> None:
    await workload(cluster)
    await running(cluster, 2)
    await autoscaler(cluster)
    broken = {"metadata": {"annotations": {"tiphys.dev/cron-scaling": "no list"}}}
    await cluster.patch(HORIZONTAL_POD_AUTOSCALERS, "web", broken)

    async def event() -> bool:
        await cluster.clock.advance(1)
        return "InvalidCronScaling" in [each.reason for each in await cluster.list(EVENTS, "default")]

    await cluster.until(event)
    # A year's end comes before the next 29th of February.
    always = '[{"timezone": "UTC", "start": "0 0 29 2 *", "end": "59 23 31 12 *", "desiredReplicas": 3}]'
    mended = {"metadata": {"annotations": {"tiphys.dev/cron-scaling": always}}}
    await cluster.patch(HORIZONTAL_POD_AUTOSCALERS, "web", mended)
    await sized(cluster, 3)


async def test_an_adapter_that_does_not_answer_keeps_nobody_else_waiting(cluster: Any, metrics: Metrics) -> None:
    for name in ("web", *(f"slow-{index}" for index in range(8))):
        await workload(cluster, name, 2)
    await running(cluster, 18)
    metrics.hangs = True
    for index in range(8):
        about = {"metric": {"name": f"queue-{index}"}, "target": {"type": "Value", "value": "10"}}
        await autoscaler(cluster, f"slow-{index}", metrics=[{"type": "External", "external": about}])
    await autoscaler(cluster)
    metrics.usage = "125m"
    await sized(cluster, 4)
