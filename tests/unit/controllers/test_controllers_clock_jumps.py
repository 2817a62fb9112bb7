"""Clocks that jump: leases are kept by the time that goes by, not by what the clock on the wall shows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from test_controllers_election import Candidate, _pass, _until_leading
from test_controllers_nodes import Kubelet

from tiphys.api.time import rfc3339
from tiphys.api.time import seconds as seconds_of
from tiphys.base.clock import settle
from tiphys.controllers.cronjob import CronJobController
from tiphys.controllers.job import JobController
from tiphys.controllers.node_lifecycle import NodeLifecycleController
from tiphys.controllers.ttl_after_finished import TtlAfterFinishedController
from tiphys.kinds.batch.cronjob import CRON_JOBS
from tiphys.kinds.batch.job import JOBS

DAY = 86_400.0


def jump(cluster: Any, seconds: float) -> None:
    """From now on the wall clock is so far off; the monotonic one goes on."""
    clock = cluster.clock
    clock.time = lambda: clock.monotonic() + seconds


async def _keep() -> None:
    """Do not give the Lease back, as one that is killed does not."""


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_a_leader_leads_on(cluster: Any, seconds: float) -> None:
    first, second = Candidate(cluster, "a"), None
    try:
        await _until_leading(cluster, first)
        second = Candidate(cluster, "b")
        await settle(200)
        jump(cluster, seconds)
        for _ in range(20):
            await _pass(cluster, 1)
            assert first.leading
            assert not second.leading
    finally:
        await first.stop()
        if second is not None:
            await second.stop()


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_a_silent_leader_is_followed_as_soon_as_ever(cluster: Any, seconds: float) -> None:
    first = Candidate(cluster, "a")
    await _until_leading(cluster, first)
    second = Candidate(cluster, "b")
    try:
        await settle(200)
        first.election._release = _keep  # type: ignore[method-assign]
        await first.stop()
        jump(cluster, seconds)
        await _pass(cluster, 3)
        assert not second.leading
        await _pass(cluster, 3)
        await _until_leading(cluster, second)
    finally:
        await second.stop()


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_a_node_that_renews_stays_ready(cluster: Any, seconds: float) -> None:
    cluster.start(NodeLifecycleController)
    node = Kubelet(cluster, "node")
    await node.register()
    await node.renew()
    await node.shows("True")
    jump(cluster, seconds)
    for _ in range(8):
        await cluster.clock.advance(4)
        await node.renew()
        await settle(200)
    await node.shows("True")


def _cron_job(schedule: str = "*/10 * * * *", **spec: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": "Never"}
    return {
        "metadata": {"name": "c"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": pod}}}, **spec},
    }


async def _scheduled(cluster: Any) -> list[str]:
    """The times that Jobs were made for, sorted; one that is made twice shows twice."""
    key = "batch.kubernetes.io/cronjob-scheduled-timestamp"
    return sorted(job.metadata.annotations[key] for job in await cluster.list(JOBS, "default"))


async def _hours(cluster: Any, hours: float) -> None:
    for _ in range(round(hours * 12)):
        await cluster.clock.advance(300)
        for _ in range(4):
            # What is under way in the store ends in the event loop's own time.
            await asyncio.sleep(0.001)
            await settle(100)


@pytest.mark.parametrize("leaders", [1, 2])
@pytest.mark.parametrize("seconds", [3 * 3600.0, -3 * 3600.0])
async def test_a_jump_doubles_no_cron_job_and_loses_none(cluster: Any, seconds: float, leaders: int) -> None:
    """With two leaders, the second begins after the jump, and the first does not know that it leads no more."""
    cluster.start(CronJobController)
    await cluster.create(CRON_JOBS, _cron_job(startingDeadlineSeconds=4 * 3600))
    await _hours(cluster, 1)
    before = await _caught_up(cluster)
    jump(cluster, seconds)
    for _ in range(leaders - 1):
        cluster.start(CronJobController)
    await _hours(cluster, 1)
    if seconds < 0:
        # All these times had their Jobs already.
        assert await _scheduled(cluster) == before
        await _hours(cluster, 2.5)
    after = await _caught_up(cluster)
    assert len(set(after)) == len(after)
    assert set(before) < set(after)


async def _caught_up(cluster: Any) -> list[str]:
    """The times that Jobs were made for, once the last that is over has its Job."""
    last = rfc3339(cluster.clock.time() // 600 * 600)

    async def check() -> Any:
        found = await _scheduled(cluster)
        return found if last in found else None

    found: list[str] = await cluster.until(check, f"a Job for {last}")
    return found


@pytest.mark.parametrize(("start", "hours", "count"), [("2023-11-05T03:30:00Z", 6, 1), ("2024-03-10T04:30:00Z", 5, 1)])
async def test_a_change_of_summer_time_doubles_none(cluster: Any, start: str, hours: int, count: int) -> None:
    """01:30 comes twice, 02:30 not at all, in New York; what is to run daily runs once."""
    cluster.clock._now = seconds_of(start)
    cluster.start(CronJobController)
    wanted = "30 1 * * *" if start.startswith("2023") else "30 3 * * *"
    await cluster.create(CRON_JOBS, _cron_job(wanted, timeZone="America/New_York"))
    await _hours(cluster, hours)

    async def enough() -> bool:
        return len(await _scheduled(cluster)) >= count

    await cluster.until(enough, "the daily Job")
    assert len(await _scheduled(cluster)) == count


@pytest.mark.parametrize("seconds", [-DAY, -3600.0])
async def test_a_clock_that_is_set_back_ends_no_job_early_and_removes_none(cluster: Any, seconds: float) -> None:
    cluster.start(JobController)
    cluster.start(TtlAfterFinishedController)
    pod = {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": "Never"}
    spec = {"template": {"spec": pod}, "activeDeadlineSeconds": 600}
    await cluster.create(JOBS, {"metadata": {"name": "j"}, "spec": spec})
    await settle(400)
    jump(cluster, seconds)
    await _hours(cluster, 0.1)
    (job,) = await cluster.list(JOBS, "default")
    assert not job.finished


@pytest.mark.parametrize(("seconds", "goes"), [(-DAY, False), (DAY, True)])
async def test_a_jump_removes_no_finished_job_before_its_time(cluster: Any, seconds: float, goes: bool) -> None:
    cluster.start(TtlAfterFinishedController)
    pod = {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": "Never"}
    spec = {"template": {"spec": pod}, "ttlSecondsAfterFinished": 3600}
    await cluster.create(JOBS, {"metadata": {"name": "j"}, "spec": spec})
    now = rfc3339(cluster.clock.time())
    conditions = [{"type": each, "status": "True", "lastTransitionTime": now} for each in ("FailureTarget", "Failed")]
    await cluster.patch(JOBS, "j", {"status": {"startTime": now, "conditions": conditions}}, subresource="status")
    jump(cluster, seconds)
    # The wall clock says when it ended, so it says when its time is over; a timer that was set before looks again then.
    await _hours(cluster, 2)

    async def gone() -> bool:
        return not [job for job in await cluster.list(JOBS, "default") if not job.metadata.deletion_timestamp]

    if goes:
        await cluster.until(gone, "its time is over")
    else:
        assert not await gone()
