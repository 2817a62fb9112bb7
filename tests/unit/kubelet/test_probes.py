"""When a container is asked whether it is well, and what its answers make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tiphys.base.clock import VirtualClock
from tiphys.base.tasks import Supervisor
from tiphys.kinds.core.container import Container, Probe
from tiphys.kubelet import runtime
from tiphys.kubelet.handlers import Outcome
from tiphys.kubelet.probes import Prober, Services
from tiphys.kubelet.steps import Verdict


class Asked:
    """Handlers that answer as `well` says, by the seconds since the container started; `at` is when they were asked."""

    def __init__(self, clock: VirtualClock, supervisor: Supervisor) -> None:
        self.clock, self.began = clock, clock.time()
        self.well: Callable[[float], bool] = lambda passed: True
        self.at: list[float] = []
        self.told: list[float] = []
        self.prober = Prober(
            Services(self, supervisor, clock, lambda: None, lambda *_: self.told.append(self.passed))  # type: ignore[arg-type]
        )

    @property
    def passed(self) -> float:
        return round(self.clock.time() - self.began, 3)

    async def probe(self, target: Any, probe: Probe) -> Outcome:
        self.at.append(self.passed)
        return Outcome(self.well(self.passed))

    def follow(self, known: Verdict | None = None, **probes: Probe) -> None:
        live = runtime.Container("id", "sandbox", "uid", "c", 0, runtime.State.RUNNING, started_at=self.began)
        self.prober.follow({"id": (Container("c", **probes), live)}, "10.0.0.1", {"id": known} if known else {})

    @property
    def verdict(self) -> Verdict:
        return self.prober.verdicts["id"]


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    clock = VirtualClock()
    async with Supervisor(clock) as supervisor:
        yield Asked(clock, supervisor)


async def test_a_container_that_needs_a_moment_is_ready_a_moment_later(asked: Asked) -> None:
    asked.well = lambda passed: passed > 0.25
    asked.follow(readiness_probe=Probe(period_seconds=10))
    await asked.clock.advance(1)
    assert asked.verdict.ready
    assert asked.at == [0, 0.1, 0.3]
    assert asked.told == [0]
    await asked.clock.advance(30)
    assert asked.at[3:] == [10.3, 20.3, 30.3]


async def test_one_that_is_never_ready_is_asked_once_a_period(asked: Asked) -> None:
    asked.well = lambda passed: False
    asked.follow(readiness_probe=Probe(period_seconds=1, initial_delay_seconds=5))
    await asked.clock.advance(10)
    assert not asked.verdict.ready
    assert asked.at == [5, 5.1, 5.3, 5.7, 6.5, 7.5, 8.5, 9.5]
    assert asked.told == [5, 6.5, 7.5, 8.5, 9.5]


async def test_one_that_was_ready_has_whole_periods_to_come_back(asked: Asked) -> None:
    asked.well = lambda passed: False
    asked.follow(Verdict(), readiness_probe=Probe(period_seconds=2))
    await asked.clock.advance(3)
    assert asked.verdict.ready
    await asked.clock.advance(2)
    assert not asked.verdict.ready
    assert asked.at == [0, 2, 4]


@pytest.mark.parametrize("kind", ["startup_probe", "liveness_probe"])
async def test_probes_that_may_end_a_container_keep_their_period(asked: Asked, kind: str) -> None:
    asked.well = lambda passed: False
    asked.follow(**{kind: Probe(period_seconds=2)})
    await asked.clock.advance(3.9)
    assert asked.verdict.alive
    await asked.clock.advance(0.2)
    assert not asked.verdict.alive
    assert asked.at == [0, 2, 4]
