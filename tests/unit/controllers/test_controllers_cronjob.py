"""CronJobs as their users see them, and the times behind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tiphys.api.time import rfc3339, seconds
from tiphys.controllers.cronjob import CronJobController
from tiphys.kinds.batch.cron import latest, next_after, parse
from tiphys.kinds.batch.cronjob import CRON_JOBS
from tiphys.kinds.batch.job import JOBS, Job
from tiphys.kinds.core.event import EVENTS

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/5 * * * *", "2024-01-01T00:00:00Z", "2024-01-01T00:05:00Z"),
        ("0 0 29 2 *", "2024-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        ("0 12 * * 0", "2024-01-01T00:00:00Z", "2024-01-07T12:00:00Z"),
        ("0 12 1 * 0", "2024-01-02T00:00:00Z", "2024-01-07T12:00:00Z"),
        ("@every 90s", "2024-01-01T00:00:00Z", "2024-01-01T00:01:30Z"),
        ("59 23 31 12 *", "2024-12-31T23:59:00Z", "2025-12-31T23:59:00Z"),
    ],
)
def test_the_next_time(schedule: str, after: str, expected: str):
    found = next_after(parse(schedule), seconds(after), UTC)
    assert found is not None
    assert rfc3339(found) == expected


def test_there_may_be_no_next_time():
    assert next_after(parse("0 0 30 2 *"), 0.0, UTC) is None


def test_when_clocks_go_forward_and_back():
    daily, hourly = parse("30 2 * * *"), parse("30 * * * *")

    def times(schedule: Any, start: str, count: int) -> list[str]:
        found, moment = [], seconds(start)
        for _ in range(count):
            moment = next_after(schedule, moment, BERLIN)
            found.append(datetime.fromtimestamp(moment, UTC).strftime("%d %H:%M"))
        return found

    # 2:30 is skipped on the 31st of March 2024, and comes twice on the 27th of October.
    assert times(daily, "2024-03-30T12:00:00Z", 1) == ["01 00:30"]
    assert times(daily, "2024-10-26T12:00:00Z", 2) == ["27 00:30", "28 01:30"]
    assert times(hourly, "2024-10-27T00:00:00Z", 3) == ["27 00:30", "27 01:30", "27 02:30"]


def test_the_latest_time():
    schedule, start = parse("0 * * * *"), seconds("2024-01-01T00:00:00Z")
    assert latest(schedule, start, start + 3599, UTC) is None
    assert latest(schedule, start, start + 3600, UTC) == start + 3600
    assert latest(schedule, start, start + 86400 * 400 + 5, UTC) == start + 86400 * 400
    assert latest(parse("@every 10s"), start, start + 35, UTC) == start + 30


def cron_job(**spec: Any) -> dict[str, Any]:
    pod = {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": "Never"}
    template = {"metadata": {"labels": {"cron": "c"}}, "spec": {"template": {"spec": pod}}}
    return {"metadata": {"name": "c"}, "spec": {"schedule": "*/10 * * * *", "jobTemplate": template, **spec}}


async def jobs(cluster: Any, count: int) -> list[Job]:
    async def check() -> Any:
        found = [job for job in await cluster.list(JOBS, "default") if job.metadata.deletion_timestamp is None]
        return sorted(found, key=lambda job: job.metadata.name) or True if len(found) == count else None

    found = await cluster.until(check, f"{count} jobs")
    return [] if found is True else found


async def finish(cluster: Any, job: Job, type_: str = "Complete") -> None:
    now = rfc3339(cluster.clock.time())
    before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[type_]
    conditions = [{"type": each, "status": "True", "lastTransitionTime": now} for each in (before, type_)]
    status = {"startTime": now, "conditions": conditions}
    if type_ == "Complete":
        status["completionTime"] = now
    await cluster.patch(JOBS, job.metadata.name, {"status": status}, subresource="status")


async def status(cluster: Any, active: int, **wanted: Any) -> Any:
    async def check() -> Any:
        found = (await cluster.get(CRON_JOBS, "c")).get("status", {})
        agrees = all(found.get(name) == value for name, value in wanted.items())
        return found or True if len(found.get("active", ())) == active and agrees else None

    return await cluster.until(check, f"{active} active, {wanted}")


@pytest.fixture
async def crons(cluster: Any) -> Any:
    # To a time on the minute, 2023-11-14T22:20:00Z.
    await cluster.clock.advance(400.0)
    cluster.start(CronJobController)
    return cluster


async def test_a_job_at_every_time_and_no_more_of_them_than_wished(crons: Any):
    await crons.create(CRON_JOBS, cron_job(successfulJobsHistoryLimit=1))
    await status(crons, 0)
    await crons.clock.advance(300)
    assert await jobs(crons, 0) == []
    await crons.clock.advance(301)
    (first,) = await jobs(crons, 1)
    assert first.metadata.labels["cron"] == "c"
    assert first.metadata.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] == "2023-11-14T22:30:00Z"
    await status(crons, 1, lastScheduleTime="2023-11-14T22:30:00Z")
    await finish(crons, first)
    await status(crons, 0, lastSuccessfulTime=rfc3339(crons.clock.time()))
    for _ in range(2):
        await crons.clock.advance(300)
    _, second = await jobs(crons, 2)
    await finish(crons, second)
    (left,) = await jobs(crons, 1)
    assert left.metadata.name == second.metadata.name


async def later(cluster: Any) -> None:
    """The next time comes, in steps no longer than the controller's longest wait."""
    for _ in range(2):
        await cluster.clock.advance(300)


async def test_what_runs_forbids_or_is_replaced_or_goes_on(crons: Any):
    await crons.create(CRON_JOBS, cron_job(concurrencyPolicy="Forbid"))
    await status(crons, 0)
    await later(crons)
    (first,) = await jobs(crons, 1)
    await status(crons, 1)
    await later(crons)
    await crons.until(lambda: _event(crons, "JobAlreadyActive"))
    await jobs(crons, 1)
    await crons.patch(CRON_JOBS, "c", {"spec": {"concurrencyPolicy": "Replace"}})

    async def replaced() -> bool:
        found = [job for job in await crons.list(JOBS, "default") if job.metadata.deletion_timestamp is None]
        return bool(found) and first.metadata.name not in [job.metadata.name for job in found]

    await crons.until(replaced)
    await status(crons, 1)
    await crons.patch(CRON_JOBS, "c", {"spec": {"concurrencyPolicy": "Allow"}})
    await later(crons)
    await jobs(crons, 2)
    await status(crons, 2)


async def test_only_the_last_of_many_missed_times_is_made_up_for(crons: Any):
    await crons.create(CRON_JOBS, cron_job(suspend=True))
    await status(crons, 0)
    await crons.clock.advance(3600 * 24 + 30)
    await crons.patch(CRON_JOBS, "c", {"spec": {"suspend": False}})
    await jobs(crons, 1)
    await status(crons, 1, lastScheduleTime="2023-11-15T22:20:00Z")


async def test_what_comes_too_late_is_not_started(crons: Any):
    await crons.create(CRON_JOBS, cron_job(suspend=True, startingDeadlineSeconds=60))
    await status(crons, 0)
    await crons.clock.advance(700)
    await crons.patch(CRON_JOBS, "c", {"spec": {"suspend": False}})
    await crons.until(lambda: _event(crons, "MissSchedule"))
    assert await jobs(crons, 0) == []


async def test_a_clock_that_is_set_back_starts_nothing_twice(crons: Any):
    await crons.create(CRON_JOBS, cron_job())
    await status(crons, 0)
    await later(crons)
    (first,) = await jobs(crons, 1)
    await status(crons, 1)
    await finish(crons, first)
    await status(crons, 0)
    crons.clock._now -= 900
    await crons.patch(CRON_JOBS, "c", {"metadata": {"labels": {"look": "again"}}})
    for _ in range(3):
        await crons.clock.advance(300)
    assert [job.metadata.name for job in await jobs(crons, 1)] == [first.metadata.name]


async def test_a_job_that_was_made_but_not_remembered_is_not_made_again(crons: Any):
    made = await crons.create(CRON_JOBS, cron_job(suspend=True))
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": made["metadata"]["uid"]}
    owner["controller"] = True
    moment = int(seconds("2023-11-14T22:30:00Z")) // 60
    spec = made["spec"]["jobTemplate"]["spec"]
    await crons.create(JOBS, {"metadata": {"name": f"c-{moment}", "ownerReferences": [owner]}, "spec": spec})
    await later(crons)
    await crons.patch(CRON_JOBS, "c", {"spec": {"suspend": False}})
    await status(crons, 1, lastScheduleTime="2023-11-14T22:30:00Z")
    (held,) = await jobs(crons, 1)
    await crons.delete(JOBS, held.metadata.name, propagation="Background")
    await status(crons, 0)
    assert await jobs(crons, 0) == []


async def _event(cluster: Any, reason: str) -> bool:
    return any(each.reason == reason for each in await cluster.list(EVENTS, "default"))
