"""How many replicas one metric asks for, by the documented algorithm."""

from __future__ import annotations

from typing import Any

import pytest
from autoscaled import NOW, container, context, pod, pods, samples

from tiphys.controllers.horizontalpodautoscaler_replicas import (
    Knobs,
    MetricError,
    Sample,
    Samples,
    Tolerance,
    average,
    share,
    utilization,
    value,
)


@pytest.mark.parametrize(
    ("used", "target", "wanted", "percent"),
    [
        ((50, 50), 50, 2, 50),
        ((100, 100), 50, 4, 100),
        ((500,), 100, 5, 500),
        ((54, 55), 50, 2, 54),  # within a tenth
        ((55, 55), 50, 2, 55),
        ((56, 57), 50, 3, 56),
        ((46, 45), 50, 2, 45),
        ((44, 44), 50, 2, 44),  # 1.76 of 2, rounded up
        ((20, 20), 50, 1, 20),
        ((0, 0), 50, 0, 0),
    ],
)
def test_utilization_is_of_the_requests(used: tuple[int, ...], target: int, wanted: int, percent: int) -> None:
    proposal = utilization(context(pods(len(used))), samples(*used), "cpu", target)
    assert (proposal.replicas, proposal.utilization) == (wanted, percent)
    assert proposal.average == sum(used) // len(used)


@pytest.mark.parametrize(
    ("tolerance", "used", "wanted"),
    [
        (Tolerance(0, 0), (101, 101), 3),
        (Tolerance(0.5, 0.1), (149, 149), 2),
        (Tolerance(0.1, 0.6), (45, 45), 2),
        (Tolerance(0.5, 0.1), (45, 45), 1),
    ],
)
def test_tolerance_is_of_each_direction(tolerance: Tolerance, used: tuple[int, ...], wanted: int) -> None:
    assert utilization(context(pods(2), tolerance=tolerance), samples(*used), "cpu", 100).replicas == wanted


def test_container_metrics_count_the_container_alone() -> None:
    both = [container("app"), container("log", {"cpu": "900m"})]
    found = [pod("p0", containers=both)]
    assert utilization(context(found), samples(300), "cpu", 100, "app").replicas == 3
    assert utilization(context(found), samples(2000), "cpu", 100).replicas == 2


def test_requests_of_the_whole_pod_count_before_those_of_its_containers() -> None:
    found = [pod("p0", resources={"requests": {"cpu": "1"}})]
    assert utilization(context(found), samples(3000), "cpu", 100).replicas == 3


def test_sidecars_count_and_init_containers_do_not() -> None:
    inits = [{**container("side"), "restartPolicy": "Always"}, container("once", {})]
    assert utilization(context([pod("p0", initContainers=inits)]), samples(400), "cpu", 100).replicas == 2


def test_a_target_without_requests_is_told_of_by_name() -> None:
    with pytest.raises(MetricError, match="missing request for cpu in container app of Pod p0"):
        utilization(context([pod("p0", containers=[container(requests={"memory": "1Gi"})])]), samples(1), "cpu", 50)
    with pytest.raises(MetricError, match="container nginx not found in Pod p0"):
        utilization(context(pods(1)), samples(1), "cpu", 50, "nginx")


@pytest.mark.parametrize(
    ("others", "used", "wanted"),
    [
        # More is wanted: whoever is not measured counts as idle.
        (pods(1), {"a": 300, "b": 300}, 6),
        # Fewer are wanted: it counts as using all it requests.
        (pods(1), {"a": 10, "b": 10}, 2),
        # The other way round is no way to go.
        (pods(3), {"a": 130, "b": 130}, 5),
        (pods(2), {"a": 85, "b": 85}, 4),
        # Nobody measured is in the way.
        ([], {"a": 200, "b": 200}, 4),
    ],
)
def test_pods_without_metrics_count_in_the_conservative_direction(others: Any, used: Any, wanted: int) -> None:
    found = [pod("a"), pod("b"), *others]
    assert utilization(context(found), samples(**used), "cpu", 100).replicas == wanted


def test_missing_pods_count_with_all_of_a_target_above_their_requests() -> None:
    found = [pod("a"), pod("b")]
    assert utilization(context(found), samples(a=10), "cpu", 200).replicas == 2


@pytest.mark.parametrize("fresh", [{"phase": "Pending", "ready": None}, {"ready": False, "started": 5, "changed": 5}])
def test_pods_that_are_not_ready_hold_back_growth_only(fresh: Any) -> None:
    found = [pod("a"), pod("b"), pod("new", **fresh)]
    assert utilization(context(found), samples(a=400, b=400, new=900), "cpu", 100).replicas == 8
    assert utilization(context(found), samples(a=110, b=120, new=900), "cpu", 100).replicas == 3
    assert utilization(context(found), samples(a=10, b=10, new=900), "cpu", 100).replicas == 1


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({"started": 60, "changed": 50}, True),
        ({"started": 60, "changed": 3}, False),  # measured before it was ready
        ({"started": 60, "changed": 20, "ready": False}, False),
        ({"started": 600, "changed": 590, "ready": False}, False),  # never was ready
        ({"started": 600, "changed": 100, "ready": False}, True),  # was ready once
        ({"started": 600, "changed": 590}, True),
        ({"ready": None}, False),
    ],
)
def test_cpu_of_a_start_is_not_load(fields: Any, counted: bool) -> None:
    found = [pod("old"), pod("new", **fields)]
    proposal = utilization(context(found), samples(old=100, new=300), "cpu", 100)
    assert proposal.average == (200 if counted else 100)


def test_memory_of_a_start_is_memory() -> None:
    found = [pod("p0", started=5, changed=1, ready=False)]
    assert average(context(found), samples(300), 100, "memory").replicas == 3


def test_the_periods_of_a_start_are_knobs() -> None:
    found = [pod("old"), pod("new", started=60, changed=20, ready=False)]
    knobs = Knobs(initialization=10, readiness_delay=10)
    assert utilization(context(found, knobs=knobs), samples(old=100, new=300), "cpu", 100).average == 200


def test_pods_that_go_or_failed_do_not_count() -> None:
    found = [pod("a"), pod("gone", deleted=True), pod("failed", phase="Failed")]
    assert utilization(context(found, 1), samples(a=200, gone=0, failed=0), "cpu", 100).replicas == 2


@pytest.mark.parametrize(
    ("found", "used", "text"),
    [
        ([], {}, "no pods returned by selector"),
        (pods(1), {}, "did not receive metrics for targeted pods"),
        ([pod("a", phase="Pending")], {"a": 5}, "did not receive metrics for targeted pods"),
    ],
)
def test_without_metrics_there_is_no_proposal(found: Any, used: Any, text: str) -> None:
    with pytest.raises(MetricError, match=text):
        utilization(context(found), samples(**used), "cpu", 50)
    with pytest.raises(MetricError, match=text):
        average(context(found), samples(**used), 50)


@pytest.mark.parametrize(("used", "wanted"), [((50, 50), 1), ((100, 100), 2), ((105, 104), 2), ((300, 100), 4)])
def test_average_values_are_compared_as_they_are(used: tuple[int, ...], wanted: int) -> None:
    assert average(context(pods(2)), samples(*used), 100).replicas == wanted


def test_average_values_of_pods_without_metrics_are_the_target() -> None:
    assert average(context(pods(4)), samples(10, 10), 100).replicas == 3
    assert average(context(pods(4)), samples(400, 400), 100).replicas == 8


def test_what_cannot_be_true_never_takes_replicas_away() -> None:
    with pytest.raises(MetricError, match="liar"):
        utilization(context(pods(3)), samples(1, 1, fault="liar"), "cpu", 100)
    assert utilization(context(pods(3)), samples(900, 900, fault="liar"), "cpu", 100).replicas == 18
    with pytest.raises(MetricError, match="liar"):
        average(context(pods(1)), samples(fault="liar"), 100)


@pytest.mark.parametrize(
    ("used", "target", "replicas", "wanted"),
    [(200, 100, 2, 4), (105, 100, 2, 2), (50, 100, 2, 1), (0, 100, 2, 0), (250, 100, 0, 3), (0, 100, 0, 0)],
)
def test_one_value_for_all_is_weighed_by_its_ratio(used: int, target: int, replicas: int, wanted: int) -> None:
    assert value(context(pods(replicas)), used, target).replicas == wanted


def test_one_value_for_all_counts_ready_pods() -> None:
    assert value(context([*pods(1), pod("x", ready=False)]), 400, 100).replicas == 4
    with pytest.raises(MetricError, match="no pods"):
        value(context([], 1), 400, 100)


@pytest.mark.parametrize(
    ("used", "running", "wanted", "shown"), [(1000, 2, 10, 500), (205, 2, 2, 103), (0, 2, 0, 0), (250, 0, 3, 250)]
)
def test_shares_of_one_value(used: int, running: int, wanted: int, shown: int) -> None:
    proposal = share(context(pods(running)), used, 100, running)
    assert (proposal.replicas, proposal.average) == (wanted, shown)


def test_a_sample_is_of_its_window() -> None:
    found = [pod("p0", started=60, changed=8)]
    assert utilization(context(found), Samples({"p0": Sample(300, NOW, 5)}), "cpu", 100).replicas == 3
    with pytest.raises(MetricError):
        utilization(context(found), Samples({"p0": Sample(300, NOW, 30)}), "cpu", 100)
