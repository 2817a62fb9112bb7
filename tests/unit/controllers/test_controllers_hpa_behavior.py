"""How fast an autoscaler may follow its metrics: windows, policies and bounds, over a time that the test makes."""

from __future__ import annotations

from typing import Any

import pytest
from autoscaled import NOW, autoscaler

from tiphys.controllers.horizontalpodautoscaler_behavior import Allowed, History, normalize


class Course:
    """One autoscaler over time: what is allowed is carried out."""

    def __init__(self, replicas: int, **fields: Any) -> None:
        self.spec = autoscaler(**{"maxReplicas": 100, **fields}).spec
        self.history, self.replicas, self.now = History(), replicas, NOW
        self.history.begin(replicas, self.now)

    def step(self, desired: int, after: float = 15) -> Allowed:
        self.now += after
        allowed = normalize(self.spec, self.replicas, desired, self.history, self.now)
        if allowed.replicas != self.replicas:
            self.history.scaled(self.replicas, allowed.replicas, self.spec, self.now)
        self.replicas = allowed.replicas
        return allowed


def rules(kind: str, value: int, period: int = 60, **more: Any) -> dict[str, Any]:
    return {"policies": [{"type": kind, "value": value, "periodSeconds": period}], **more}


def test_without_behavior_it_doubles_or_has_four() -> None:
    course = Course(1)
    sizes = [course.step(50).replicas for _ in range(5)]
    assert sizes == [4, 8, 16, 32, 50]


def test_a_limit_is_told_of() -> None:
    allowed = Course(1).step(50)
    assert allowed.limited[0] == "ScaleUpLimit"
    assert allowed.held


@pytest.mark.parametrize(
    ("replicas", "desired", "reason", "held", "wanted"),
    [
        (3, 5, "DesiredWithinRange", False, 5),
        (8, 20, "TooManyReplicas", True, 10),
        (2, 0, "TooFewReplicas", True, 2),
    ],
)
def test_the_bounds_are_kept(replicas: int, desired: int, reason: str, held: bool, wanted: int) -> None:
    course = Course(replicas, minReplicas=2, maxReplicas=10)
    course.history = History()
    allowed = course.step(desired)
    assert (allowed.limited[0], allowed.held, allowed.replicas) == (reason, held, wanted)
    course = Course(replicas, minReplicas=2, maxReplicas=10, behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    allowed = course.step(desired)
    assert (allowed.limited[0], allowed.held, allowed.replicas) == (reason, held, wanted)


@pytest.mark.parametrize("behavior", [None, {"scaleUp": {"stabilizationWindowSeconds": 0}}])
def test_down_goes_what_was_enough_for_five_minutes(behavior: Any) -> None:
    course = Course(10, **({"behavior": behavior} if behavior else {}))
    first = course.step(3)
    assert (first.replicas, first.able[0]) == (10, "ScaleDownStabilized")
    assert course.step(6, 140).replicas == 10
    assert course.step(2, 140).replicas == 10
    # The size at the beginning has left the window; the highest since is 6.
    assert course.step(2, 20).replicas == 6
    assert course.step(2, 150).replicas == 2


def test_a_spike_on_the_way_down_begins_the_window_anew() -> None:
    course = Course(4)
    course.step(1, 290)
    course.step(4, 5)
    assert course.step(1, 295).replicas == 4
    assert course.step(1, 10).replicas == 1


def test_the_window_of_growth_takes_the_lowest() -> None:
    course = Course(2, behavior={"scaleUp": {"stabilizationWindowSeconds": 60}})
    assert course.step(8).able[0] == "ScaleUpStabilized"
    assert [course.step(6).replicas, course.step(9).replicas] == [2, 2]
    assert course.step(9, 16).replicas == 6


def test_windows_of_both_directions_hold_at_once() -> None:
    windows = {"scaleUp": {"stabilizationWindowSeconds": 60}, "scaleDown": {"stabilizationWindowSeconds": 60}}
    course = Course(4, behavior=windows)
    assert [course.step(desired).replicas for desired in (8, 2, 8, 2)] == [4, 4, 4, 4]


@pytest.mark.parametrize(
    ("behavior", "replicas", "desired", "sizes"),
    [
        ({"scaleUp": rules("Pods", 4)}, 1, 50, [5, 5, 5, 5, 9]),
        ({"scaleUp": rules("Percent", 100)}, 3, 50, [6, 6, 6, 6, 12]),
        ({"scaleUp": rules("Percent", 10)}, 1, 50, [2, 2, 2, 2, 3]),
        ({"scaleUp": {"selectPolicy": "Disabled"}}, 3, 50, [3, 3, 3]),
        ({"scaleUp": rules("Pods", 2, 15)}, 1, 6, [3, 5, 6, 6]),
        ({"scaleDown": rules("Pods", 4, stabilizationWindowSeconds=0)}, 20, 1, [16, 16, 16, 16, 12]),
        ({"scaleDown": rules("Percent", 50, stabilizationWindowSeconds=0)}, 20, 1, [10, 10, 10, 10, 5]),
        ({"scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}}, 20, 1, [20, 20]),
    ],
)
def test_policies_pace(behavior: Any, replicas: int, desired: int, sizes: list[int]) -> None:
    course = Course(replicas, behavior=behavior)
    assert [course.step(desired).replicas for _ in sizes] == sizes


@pytest.mark.parametrize(
    ("select", "up", "down"), [("Max", 30, 10), ("Min", 24, 16)]
)  # fmt: skip
def test_one_of_several_policies_counts(select: str, up: int, down: int) -> None:
    policies = [
        {"type": "Pods", "value": 4, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60},
    ]  # fmt: skip
    part = {"policies": policies, "selectPolicy": select}
    behavior = {"scaleUp": part, "scaleDown": {**part, "stabilizationWindowSeconds": 0}}
    assert Course(20, behavior=behavior).step(99).replicas == up
    assert Course(20, behavior=behavior).step(1).replicas == down


def test_what_was_taken_away_in_the_period_may_come_back() -> None:
    behavior = {"scaleUp": rules("Pods", 2), "scaleDown": rules("Pods", 5, stabilizationWindowSeconds=0)}
    course = Course(10, behavior=behavior)
    assert course.step(1).replicas == 5
    assert course.step(50).replicas == 12


@pytest.mark.parametrize(
    ("behavior", "desired", "reason"),
    [
        ({"scaleUp": rules("Pods", 4)}, 50, "ScaleUpLimit"),
        ({"scaleDown": rules("Pods", 4, stabilizationWindowSeconds=0)}, 1, "ScaleDownLimit"),
    ],
)
def test_a_pace_is_told_of(behavior: Any, desired: int, reason: str) -> None:
    allowed = Course(10, behavior=behavior).step(desired)
    assert (allowed.limited[0], allowed.held) == (reason, True)


def test_little_is_remembered() -> None:
    course = Course(3)
    for _ in range(1000):
        course.step(3, 5)
    assert len(course.history.recommended) <= 2
