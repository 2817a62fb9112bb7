"""A Job counts every pod once, wherever its controller is cut off."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.api.meta import ObjectMeta, Uid
from tiphys.controllers.job_failures import INDEX, TRACKING, Record
from tiphys.controllers.job_plan import plan
from tiphys.kinds.batch.indexes import read_indexes
from tiphys.kinds.batch.job import Job, JobSpec, JobStatus
from tiphys.kinds.core.pod import Pod, PodStatus

NOW = 1_700_000_000.0


@dataclass
class World:
    """What the API holds: a Job, and its pods as (phase, going, held by the finalizer, index)."""

    spec: JobSpec
    status: dict[str, Any] = field(default_factory=dict)
    pods: dict[str, list[Any]] = field(default_factory=dict)
    made: int = 0
    ended: dict[str, str] = field(default_factory=dict)

    def job(self) -> Job:
        return Job(ObjectMeta(name="j", uid=Uid("j")), self.spec, msgspec.convert(self.status, JobStatus))

    def finished(self) -> bool:
        return self.job().finished

    def pod(self, name: str) -> Pod:
        phase, going, held, index = self.pods[name]
        meta = ObjectMeta(
            name=name, uid=Uid(name), finalizers=[TRACKING] if held else [], creation_timestamp="2023-11-14T20:00:00Z",
            deletion_timestamp="2023-11-14T22:00:00Z" if going else None,
            annotations={} if index is None else {INDEX: str(index)},
        )  # fmt: skip
        return Pod(meta, status=PodStatus(phase))

    def end(self, name: str, phase: str) -> None:
        self.pods[name][0] = phase
        self.ended[name] = phase
        self.sweep()

    def sweep(self) -> None:
        """Pods that are going, have ended and are not held are gone."""
        for name in [n for n, (phase, going, held, _) in self.pods.items() if going and not held]:
            if self.pods[name][0] in ("Succeeded", "Failed"):
                del self.pods[name]

    def reconcile(self, steps: int) -> None:
        """Carry out a plan; cut off after so many writes."""
        planned = plan(self.job(), [self.pod(name) for name in self.pods], Record(), NOW)
        writes: list[Any] = [("drop", p) for p in planned.drop] + [("delete", p) for p in planned.drop]
        writes += [("delete", p) for p in planned.end] + [("create", c) for c in planned.create]
        writes += [("status", planned.status)] if planned.status else []
        writes += [("drop", p) for p in planned.release]
        for what, subject in writes[:steps]:
            if what == "create":
                self.made += 1
                self.pods[f"p{self.made}"] = ["Running", False, True, subject[0]]
            elif what == "status":
                self.merge(self.status, subject)
            elif subject.metadata.name in self.pods:
                self.pods[subject.metadata.name][2 if what == "drop" else 1] = what != "drop"
        self.sweep()

    def merge(self, held: dict[str, Any], patch: dict[str, Any]) -> None:
        for name, value in patch.items():
            if value is None:
                held.pop(name, None)
            elif isinstance(value, dict):
                self.merge(held.setdefault(name, {}), value)
            else:
                held[name] = value


CHOICE = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 12)), max_size=60)


def run(world: World, choices: list[tuple[int, bool, int]]) -> None:
    for pick, good, steps in choices:
        running = [name for name, pod in world.pods.items() if pod[0] == "Running"]
        if running:
            world.end(running[pick % len(running)], "Succeeded" if good else "Failed")
        if not world.finished():
            world.reconcile(steps)
    for _ in range(60):
        if world.finished():
            return
        world.reconcile(1000)
        for name in [name for name, pod in world.pods.items() if pod[0] == "Running"]:
            world.end(name, "Failed" if world.pods[name][1] else "Succeeded")
    raise AssertionError(f"never finished: {world}")


@settings(max_examples=150, deadline=None)
@given(CHOICE)
def test_every_pod_is_counted_once(choices: list[tuple[int, bool, int]]):
    world = World(JobSpec(parallelism=3, completions=4, backoff_limit=100))
    run(world, choices)
    status = world.job().status
    assert status.succeeded == list(world.ended.values()).count("Succeeded")
    assert status.failed == list(world.ended.values()).count("Failed")
    assert not any(held for _, _, held, _ in world.pods.values())


@settings(max_examples=150, deadline=None)
@given(CHOICE)
def test_every_index_is_completed(choices: list[tuple[int, bool, int]]):
    spec = JobSpec(parallelism=3, completions=4, backoff_limit=100, completion_mode="Indexed")
    world = World(spec)
    run(world, choices)
    status = world.job().status
    assert read_indexes(status.completed_indexes, 4) == {0, 1, 2, 3}
    assert status.succeeded == 4
    assert status.failed == list(world.ended.values()).count("Failed")


@settings(max_examples=150, deadline=None)
@given(CHOICE)
def test_no_more_fail_than_the_limit_lets(choices: list[tuple[int, bool, int]]):
    world = World(JobSpec(parallelism=2, completions=3, backoff_limit=1))
    run(world, choices)
    status = world.job().status
    failed = any(condition.type == "Failed" for condition in status.conditions)
    assert failed == (status.failed > 1)
    assert not any(held for _, _, held, _ in world.pods.values())
