"""Jobs as their users see them."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.time import rfc3339
from tiphys.controllers.job import JobController
from tiphys.kinds.batch.indexes import format_indexes, read_indexes
from tiphys.kinds.batch.job import JOBS
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.pod import PODS, Pod

INDEX = "batch.kubernetes.io/job-completion-index"
FINALIZER = "batch.kubernetes.io/job-tracking"


def job(*, pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "busybox"}]
    template = {"spec": {"containers": containers, "restartPolicy": "Never", **(pod or {})}}
    return {"metadata": {"name": "j"}, "spec": {"template": template, **spec}}


def index(pod: Pod) -> int:
    return int(pod.metadata.annotations[INDEX])


async def pods(cluster: Any, count: int) -> list[Pod]:
    """Those that have neither ended nor are going, once there are `count`."""

    async def check() -> Any:
        found = [p for p in await cluster.list(PODS, "default") if not p.finished and not p.deleted]
        return found or True if len(found) == count else None

    found = await cluster.until(check, f"{count} pods")
    return [] if found is True else found


async def end(cluster: Any, pod: Pod, code: int = 0, **status: Any) -> None:
    phase = "Failed" if code else "Succeeded"
    ended = {"exitCode": code, "finishedAt": rfc3339(cluster.clock.time()), "startedAt": rfc3339(cluster.clock.time())}
    containers = [{"name": "c", "image": "i", "imageID": "i", "ready": False, "restartCount": 0}]
    containers[0]["state"] = {"terminated": ended}
    patch = {"status": {"phase": phase, "containerStatuses": containers, **status}}
    await cluster.patch(PODS, pod.metadata.name, patch, subresource="status", kind="strategic")


async def status(cluster: Any, **wanted: Any) -> dict[str, Any]:
    """The status once it says so; `done` and `reason` are of the condition that ends it."""
    done, reason = wanted.pop("done", None), wanted.pop("reason", None)

    async def check() -> Any:
        found = (await cluster.get(JOBS, "j")).get("status", {})
        conditions = {c["type"]: c for c in found.get("conditions", ()) if c["status"] == "True"}
        if done is not None and done not in conditions:
            return None
        if reason is not None and conditions[done]["reason"] != reason:
            return None
        return found if all(found.get(name, 0) == value for name, value in wanted.items()) else None

    return await cluster.until(check, f"{done} {reason} {wanted}")


async def let_go(cluster: Any) -> None:
    async def check() -> bool:
        return not any(FINALIZER in p.metadata.finalizers for p in await cluster.list(PODS, "default"))

    await cluster.until(check, "no finalizers")


@pytest.fixture
def jobs(cluster: Any) -> Any:
    cluster.start(JobController)
    return cluster


def test_indexes_are_written_as_upstream_writes_them():
    assert format_indexes([5, 1, 3, 4, 7, 8]) == "1,3-5,7,8"
    assert format_indexes([]) == ""
    assert read_indexes("1,3-5,7", 5) == {1, 3, 4}
    assert read_indexes("x,1-2-3,2", 5) == {2}


async def test_pods_run_in_parallel_until_enough_have_succeeded(jobs: Any):
    await jobs.create(JOBS, job(completions=3, parallelism=2))
    first, second = await pods(jobs, 2)
    assert FINALIZER in first.metadata.finalizers
    await status(jobs, active=2, succeeded=0)
    await end(jobs, first)
    await end(jobs, second)
    (third,) = await pods(jobs, 1)
    await status(jobs, active=1, succeeded=2)
    await end(jobs, third)
    found = await status(jobs, succeeded=3, active=0, done="Complete", reason="CompletionsReached")
    assert found["completionTime"]
    assert found["uncountedTerminatedPods"] == {}
    assert found["conditions"][0]["type"] == "SuccessCriteriaMet"
    await let_go(jobs)


async def test_failures_are_waited_for_longer_each_time_until_the_limit(jobs: Any):
    await jobs.create(JOBS, job(backoffLimit=1))
    (first,) = await pods(jobs, 1)
    await end(jobs, first, 1)
    await status(jobs, failed=1, active=0)
    assert await pods(jobs, 0) == []
    await jobs.clock.advance(10.5)
    (second,) = await pods(jobs, 1)
    await end(jobs, second, 1)
    await status(jobs, failed=2, done="Failed", reason="BackoffLimitExceeded")
    await let_go(jobs)


async def test_a_deadline_ends_the_job_and_its_pods(jobs: Any):
    await jobs.create(JOBS, job(activeDeadlineSeconds=30))
    await pods(jobs, 1)
    await status(jobs, active=1)
    await jobs.clock.advance(31)
    await status(jobs, failed=1, done="Failed", reason="DeadlineExceeded")
    await let_go(jobs)


async def test_indexes_get_a_pod_each(jobs: Any):
    await jobs.create(JOBS, job(completions=3, parallelism=3, completionMode="Indexed"))
    made = sorted(await pods(jobs, 3), key=index)
    assert [index(p) for p in made] == [0, 1, 2]
    whole = await jobs.get(PODS, made[1].metadata.name)
    assert whole["metadata"]["name"].startswith("j-1-")
    assert whole["spec"]["hostname"] == "j-1"
    (variable,) = whole["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    await end(jobs, made[2])
    await status(jobs, completedIndexes="2", succeeded=1)
    await end(jobs, made[0])
    await end(jobs, made[1])
    await status(jobs, completedIndexes="0-2", done="Complete")
    await let_go(jobs)


async def test_indexes_fail_by_themselves(jobs: Any):
    limits = {"backoffLimitPerIndex": 1, "completionMode": "Indexed"}
    await jobs.create(JOBS, job(completions=2, parallelism=2, **limits))
    zero, one = sorted(await pods(jobs, 2), key=index)
    await end(jobs, zero)
    await end(jobs, one, 1)
    await status(jobs, completedIndexes="0", active=0)
    await jobs.clock.advance(10.5)
    (again,) = await pods(jobs, 1)
    assert again.metadata.annotations["batch.kubernetes.io/job-index-failure-count"] == "1"
    await end(jobs, again, 1)
    await status(jobs, failedIndexes="1", failed=2, succeeded=1, done="Failed", reason="FailedIndexes")
    await let_go(jobs)


async def test_a_success_policy_ends_what_still_runs(jobs: Any):
    policy = {"rules": [{"succeededIndexes": "0,2", "succeededCount": 1}]}
    await jobs.create(JOBS, job(completions=3, parallelism=3, completionMode="Indexed", successPolicy=policy))
    made = sorted(await pods(jobs, 3), key=index)
    await end(jobs, made[1])
    await status(jobs, completedIndexes="1")
    await end(jobs, made[2])
    await status(jobs, completedIndexes="1,2", failed=0, done="Complete", reason="SuccessPolicy")
    await let_go(jobs)


async def test_a_failure_policy_fails_ignores_and_fails_indexes(jobs: Any):
    codes = {"operator": "In", "values": [42]}
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": codes},
    ]
    await jobs.create(JOBS, job(backoffLimit=0, podFailurePolicy={"rules": rules}))
    (first,) = await pods(jobs, 1)
    await end(jobs, first, 1, conditions=[{"type": "DisruptionTarget", "status": "True"}])
    await let_go(jobs)
    await jobs.clock.advance(10.5)
    (second,) = await pods(jobs, 1)
    await end(jobs, second, 42)
    found = await status(jobs, failed=1, done="Failed", reason="PodFailurePolicy")
    assert "exit code 42" in found["conditions"][-1]["message"]
    await let_go(jobs)


async def test_an_index_that_may_not_be_tried_again(jobs: Any):
    rules = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}]
    limits = {"backoffLimitPerIndex": 3, "completionMode": "Indexed", "podFailurePolicy": {"rules": rules}}
    await jobs.create(JOBS, job(completions=2, parallelism=2, **limits))
    zero, one = sorted(await pods(jobs, 2), key=index)
    await end(jobs, zero, 42)
    await status(jobs, failedIndexes="0", failed=1)
    await end(jobs, one)
    await status(jobs, failedIndexes="0", completedIndexes="1", done="Failed", reason="FailedIndexes")


async def test_a_suspended_job_has_no_pods_and_starts_anew(jobs: Any):
    await jobs.create(JOBS, job(suspend=True))
    found = await status(jobs, done="Suspended")
    assert "startTime" not in found
    await jobs.patch(JOBS, "j", {"spec": {"suspend": False}})
    (first,) = await pods(jobs, 1)
    assert (await status(jobs, active=1))["startTime"]
    await jobs.patch(JOBS, "j", {"spec": {"suspend": True}})
    await pods(jobs, 0)
    await status(jobs, active=0, failed=0, done="Suspended")
    await jobs.patch(JOBS, "j", {"spec": {"suspend": False}})
    (second,) = await pods(jobs, 1)
    assert second.metadata.uid != first.metadata.uid
    await jobs.until(lambda: _event(jobs, "Resumed"))


async def test_only_pods_that_ended_are_replaced_if_so_wished(jobs: Any):
    await jobs.add_node("n")
    await jobs.create(JOBS, job(podReplacementPolicy="Failed"))
    (first,) = await pods(jobs, 1)
    await jobs.bind(first.metadata.name, "n")
    await jobs.delete(PODS, first.metadata.name)
    await status(jobs, active=0, terminating=1)
    assert await pods(jobs, 0) == []
    await end(jobs, first, 137)
    await status(jobs, failed=1, terminating=0)
    await jobs.clock.advance(10.5)
    await pods(jobs, 1)


async def test_a_job_that_another_manages_is_left_alone(jobs: Any):
    await jobs.create(JOBS, job(managedBy="example.com/other"))
    other = job()
    other["metadata"]["name"] = "k"
    await jobs.create(JOBS, other)
    (only,) = await pods(jobs, 1)
    assert only.metadata.controller is not None
    assert only.metadata.controller.name == "k"


async def test_fewer_in_parallel_is_not_a_failure(jobs: Any):
    await jobs.create(JOBS, job(completions=5, parallelism=3))
    await pods(jobs, 3)
    await jobs.patch(JOBS, "j", {"spec": {"parallelism": 1}})
    await pods(jobs, 1)
    await status(jobs, active=1, failed=0)


async def test_pods_of_a_job_that_is_gone_are_let_go_of(jobs: Any):
    await jobs.create(JOBS, job())
    await pods(jobs, 1)
    await jobs.delete(JOBS, "j", propagation="Background")
    await let_go(jobs)


async def _event(cluster: Any, reason: str) -> bool:
    return any(each.reason == reason for each in await cluster.list(EVENTS, "default"))
