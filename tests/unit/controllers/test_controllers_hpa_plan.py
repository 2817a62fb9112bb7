"""What an autoscaler does and says, for every type of metric and every way to fail."""

from __future__ import annotations

from typing import Any

import pytest
from autoscaled import NOW, autoscaler, pods, resource, samples

from tiphys.controllers.horizontalpodautoscaler_behavior import History
from tiphys.controllers.horizontalpodautoscaler_plan import Plan, measures, plan, scaled
from tiphys.controllers.horizontalpodautoscaler_replicas import MetricError
from tiphys.controllers.scales import Scale

SELECTOR = "app=web"
METRIC = {"name": "requests", "selector": {"matchLabels": {"verb": "GET"}}}
ABOUT = {"apiVersion": "v1", "kind": "Service", "name": "web"}


def decide(metrics: list[Any], measured: list[Any], replicas: int = 2, **fields: Any) -> Plan:
    hpa = autoscaler(metrics=metrics, **{"minReplicas": 1, "maxReplicas": 50, **fields})
    found = pods(replicas)
    return plan(hpa, Scale(replicas, replicas, SELECTOR), found, measured, History(), NOW)


def said(planned: Plan, kind: str) -> tuple[str, str, str]:
    return [condition[1:] for condition in planned.conditions if condition[0] == kind][-1]


def source(kind: str, target: Any) -> Any:
    name = kind[0].lower() + kind[1:]
    more = {"describedObject": ABOUT} if kind == "Object" else {}
    return {"type": kind, name: {"metric": METRIC, "target": target, **more}}


@pytest.mark.parametrize(
    ("metric", "found", "wanted", "name", "current"),
    [
        (resource({"type": "Utilization", "averageUtilization": 50}), samples(100, 100), 4,
         "cpu resource utilization (percentage of request)",
         {"name": "cpu", "current": {"averageUtilization": 100, "averageValue": "100m"}}),
        (resource({"type": "AverageValue", "averageValue": "50m"}), samples(100, 100), 4, "cpu resource",
         {"name": "cpu", "current": {"averageValue": "100m"}}),
        (resource({"type": "AverageValue", "averageValue": "1Ki"}, "memory"), samples(2_048_000, 2_048_000), 4,
         "memory resource", {"name": "memory", "current": {"averageValue": "2048"}}),
        ({"type": "ContainerResource", "containerResource": {
            "name": "cpu", "container": "app", "target": {"type": "Utilization", "averageUtilization": 50}}},
         samples(100, 100), 4, "cpu container resource utilization (percentage of request)",
         {"name": "cpu", "container": "app", "current": {"averageUtilization": 100, "averageValue": "100m"}}),
        (source("Pods", {"type": "AverageValue", "averageValue": "10"}), samples(20_000, 20_000), 4,
         "pods metric requests", {"metric": METRIC, "current": {"averageValue": "20"}}),
        (source("Object", {"type": "Value", "value": "10"}), 20_000, 4, "Service metric requests",
         {"metric": METRIC, "describedObject": ABOUT, "current": {"value": "20"}}),
        (source("Object", {"type": "AverageValue", "averageValue": "5"}), 20_000, 4, "Service metric requests",
         {"metric": METRIC, "describedObject": ABOUT, "current": {"averageValue": "10"}}),
        (source("External", {"type": "Value", "value": "10"}), 20_000, 4, "external metric requests",
         {"metric": METRIC, "current": {"value": "20"}}),
        (source("External", {"type": "AverageValue", "averageValue": "5"}), 20_000, 4, "external metric requests",
         {"metric": METRIC, "current": {"averageValue": "10"}}),
    ],
)  # fmt: skip
def test_every_type_of_metric_and_target(metric: Any, found: Any, wanted: int, name: str, current: Any) -> None:
    planned = decide([metric], [found])
    assert planned.replicas == wanted
    assert planned.reason == f"{name} above target"
    kind = metric["type"]
    assert planned.metrics == [{"type": kind, kind[0].lower() + kind[1:]: current}]
    text = f"the HPA was able to successfully calculate a replica count from {name}"
    assert said(planned, "ScalingActive") == ("True", "ValidMetricFound", text)


CPU = resource({"type": "Utilization", "averageUtilization": 50})
MORE = source("External", {"type": "Value", "value": "10"})


def test_the_greatest_proposal_counts() -> None:
    planned = decide([CPU, MORE], [samples(100, 100), 15_000])
    assert (planned.replicas, planned.reason) == (4, "cpu resource utilization (percentage of request) above target")


def test_fewer_only_when_all_ask_for_fewer() -> None:
    instantly = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    assert decide([CPU, MORE], [samples(10, 10), 10_000], behavior=instantly).replicas is None
    planned = decide([CPU, MORE], [samples(10, 10), 1_000], behavior=instantly)
    assert (planned.replicas, planned.reason) == (1, "All metrics below target")


def test_with_a_metric_that_fails_it_may_grow_but_not_shrink() -> None:
    away = MetricError("no metrics returned from external metrics API")
    grown = decide([CPU, MORE], [samples(100, 100), away])
    assert grown.replicas == 4
    assert said(grown, "ScalingActive")[0] == "True"
    assert ("FailedGetExternalMetric", f"failed to get external metric requests: {away}") in grown.events
    kept = decide([CPU, MORE], [samples(1, 1), away], behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    assert kept.replicas is None
    assert said(kept, "ScalingActive")[:2] == ("False", "FailedGetExternalMetric")
    assert kept.metrics is None


@pytest.mark.parametrize(
    ("metric", "reason", "text"),
    [
        (CPU, "FailedGetResourceMetric", "failed to get cpu utilization: why"),
        (resource({"type": "AverageValue", "averageValue": "1"}), "FailedGetResourceMetric",
         "failed to get cpu usage: why"),
        ({"type": "ContainerResource", "containerResource": {
            "name": "cpu", "container": "app", "target": {"type": "Utilization", "averageUtilization": 50}}},
         "FailedGetContainerResourceMetric", "failed to get cpu utilization: why"),
        (source("Pods", {"type": "AverageValue", "averageValue": "1"}), "FailedGetPodsMetric",
         "unable to get metric requests: why"),
        (source("Object", {"type": "Value", "value": "1"}), "FailedGetObjectMetric",
         "unable to get metric requests: Service web: why"),
        (MORE, "FailedGetExternalMetric", "failed to get external metric requests: why"),
        (source("External", {"type": "AverageValue", "averageValue": "1"}), "FailedGetExternalMetric",
         "failed to get requests external metric: why"),
    ],
)  # fmt: skip
def test_every_failure_has_its_reason(metric: Any, reason: str, text: str) -> None:
    planned = decide([metric], [MetricError("why")])
    assert planned.replicas is None
    message = f"the HPA was unable to compute the replica count: {text}"
    assert said(planned, "ScalingActive") == ("False", reason, message)
    assert (reason, text) in planned.events
    assert planned.events[-1][0] == "FailedComputeMetricsReplicas"
    assert planned.events[-1][1].startswith("invalid metrics (1 invalid out of 1), first error is: failed to get ")


def test_a_target_without_requests_says_which_container() -> None:
    metric = resource({"type": "Utilization", "averageUtilization": 50}, "nvidia.com/gpu")
    planned = decide([metric], [samples(1, 1)])
    assert said(planned, "ScalingActive")[1] == "FailedGetResourceMetric"
    assert "missing request for nvidia.com/gpu in container app of Pod p0" in said(planned, "ScalingActive")[2]


@pytest.mark.parametrize(
    ("replicas", "minimum", "wanted", "reason"),
    [
        (60, 1, 50, "Current number of replicas above Spec.MaxReplicas"),
        (1, 3, 3, "Current number of replicas below Spec.MinReplicas"),
    ],
)
def test_out_of_bounds_no_metric_is_needed(replicas: int, minimum: int, wanted: int, reason: str) -> None:
    hpa = autoscaler(minReplicas=minimum, maxReplicas=50)
    scale = Scale(replicas, replicas, SELECTOR)
    assert not measures(hpa.spec, scale)
    planned = plan(hpa, scale, [], [], History(), NOW)
    assert (planned.replicas, planned.reason) == (wanted, reason)


def test_what_is_at_zero_is_left_there() -> None:
    planned = plan(autoscaler(), Scale(0, 0, SELECTOR), [], [], History(), NOW)
    assert planned.replicas is None
    assert said(planned, "ScalingActive")[:2] == ("False", "ScalingDisabled")


def test_who_may_be_at_zero_comes_back_from_there() -> None:
    hpa = autoscaler(metrics=[MORE], minReplicas=0)
    assert plan(hpa, Scale(0, 0, SELECTOR), [], [25_000], History(), NOW).replicas == 3
    assert plan(hpa, Scale(0, 0, SELECTOR), [], [0], History(), NOW).replicas is None


def test_pods_of_two_autoscalers_are_left_alone() -> None:
    text = "pods by selector app=web are controlled by multiple HPAs: [default/a default/b]"
    planned = plan(autoscaler(), Scale(2, 2, SELECTOR), pods(2), [], History(), NOW, conflict=text)
    assert planned.replicas is None
    assert said(planned, "ScalingActive") == ("False", "AmbiguousSelector", text)
    assert ("AmbiguousSelector", text) in planned.events


def test_a_target_without_selector() -> None:
    planned = plan(autoscaler(), Scale(2, 2), pods(2), [], History(), NOW)
    assert said(planned, "ScalingActive")[:2] == ("False", "InvalidSelector")
    assert ("SelectorRequired", "selector is required") in planned.events


def test_what_became_of_it_is_told() -> None:
    hpa, planned = autoscaler(), decide([CPU], [samples(100, 100)])
    scaled(hpa, planned, "")
    assert said(planned, "AbleToScale")[:2] == ("True", "SucceededRescale")
    text = "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    assert planned.events == [("SuccessfulRescale", text)]
    planned = decide([CPU], [samples(100, 100)])
    scaled(hpa, planned, "forbidden")
    assert said(planned, "AbleToScale")[:2] == ("False", "FailedUpdateScale")
    assert planned.events == [("FailedRescale", f"{text}; error: forbidden")]


@pytest.mark.parametrize(("tolerance", "wanted"), [(None, None), ("0.05", 3), ("300m", None)])
def test_tolerance_is_of_the_behavior(tolerance: str | None, wanted: int | None) -> None:
    behavior: Any = {"behavior": {"scaleUp": {"tolerance": tolerance}}} if tolerance else {}
    assert decide([CPU], [samples(54, 54)], **behavior).replicas == wanted


def test_whoever_takes_over_takes_nothing_away_at_once() -> None:
    hpa, history = autoscaler(metrics=[CPU], maxReplicas=50), History()
    scale = Scale(8, 8, SELECTOR)
    for since, wanted in ((0, None), (200, None), (299, None), (301, 1)):
        found = samples(*[1] * 8)
        moved = type(found)({name: type(each)(each.value, NOW + since) for name, each in found.of.items()})
        assert plan(hpa, scale, pods(8), [moved], history, NOW + since).replicas == wanted
