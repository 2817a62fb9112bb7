"""What a CronJob's controller does next: one pure function over what the informers show.

However many times were missed, the last one alone is made up for. What was started is remembered as a time and as the
name of its Job, so that no jump of a clock starts it twice.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from tiphys.api.resource import Json
from tiphys.api.time import rfc3339, seconds
from tiphys.kinds.batch import cron
from tiphys.kinds.batch.cronjob import CronJob
from tiphys.kinds.batch.job import JOBS, Job

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_MANY = 100


@dataclass(slots=True)
class Plan:
    """`start` is the time (unix seconds) that a Job is to be made for, once those of `delete` are asked to go.

    `events`: reason, text, whether it warns. `again`: seconds until the next time.
    """

    start: float | None = None
    zone: tzinfo = UTC
    delete: list[Job] = field(default_factory=list)
    surplus: list[Job] = field(default_factory=list)
    status: Json = field(default_factory=dict)
    events: list[tuple[str, str, bool]] = field(default_factory=list)
    again: float | None = None


def plan(owner: CronJob, jobs: Sequence[Job], now: float) -> Plan:
    """`jobs` are those that `owner` owns."""
    planned = Plan()
    running = sorted((job for job in jobs if not job.finished), key=lambda job: job.metadata.name)
    planned.surplus = _surplus(owner, jobs)
    planned.status = _status(owner, jobs, running)
    for held in owner.status.active:
        job = next((each for each in jobs if each.metadata.uid == held.uid), None)
        if job is None:
            planned.events.append(("MissingJob", f"Active job went missing: {held.name}", False))
        elif job.finished:
            type_ = "Complete" if job.condition("Complete") is not None else "Failed"
            planned.events.append(("SawCompletedJob", f"Saw completed job: {held.name}, condition: {type_}", False))
    if owner.metadata.deletion_timestamp is None and not owner.spec.suspend:
        _schedule(owner, jobs, running, now, planned)
    return planned


def _schedule(owner: CronJob, jobs: Sequence[Job], running: Sequence[Job], now: float, planned: Plan) -> None:
    spec = owner.spec
    try:
        schedule = cron.parse(spec.schedule)
        planned.zone = zoneinfo.ZoneInfo(spec.time_zone) if spec.time_zone else UTC
    except (ValueError, zoneinfo.ZoneInfoNotFoundError) as error:
        planned.events.append(("InvalidSchedule", f"cannot work out the times of {spec.schedule!r}: {error}", True))
        return
    earliest = seconds(owner.status.last_schedule_time or owner.metadata.creation_timestamp)
    found = cron.latest(schedule, earliest, now, planned.zone)
    upcoming = cron.next_after(schedule, earliest if schedule.every else now, planned.zone)
    if schedule.every and found is not None:
        upcoming = found + schedule.every
    planned.again = max(upcoming - now, 0.0) if upcoming is not None else None
    if found is None:
        return
    if job_name(owner, found) in [job.metadata.name for job in jobs]:
        # Made before, but not remembered: it must not be made again when the Job has gone.
        planned.status["lastScheduleTime"] = rfc3339(found)
        return
    if spec.starting_deadline_seconds is not None and found + spec.starting_deadline_seconds < now:
        text = f"Missed scheduled time to start a job: {rfc3339(found)}"
        planned.events.append(("MissSchedule", text, True))
        return
    _warn_of_missed(schedule, earliest, found, planned)
    if running and spec.concurrency_policy == "Forbid":
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        planned.events.append(("JobAlreadyActive", text, False))
        return
    if spec.concurrency_policy == "Replace":
        planned.delete = [job for job in running if job.metadata.deletion_timestamp is None]
    planned.start = found


def _warn_of_missed(schedule: cron.Schedule, earliest: float, found: float, planned: Plan) -> None:
    first = cron.next_after(schedule, earliest, planned.zone)
    second = cron.next_after(schedule, first, planned.zone) if first is not None else None
    if first is not None and second is not None and found - first > _MANY * (second - first):
        text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        planned.events.append(("TooManyMissedTimes", text, True))


def job_name(owner: CronJob, moment: float) -> str:
    return f"{owner.metadata.name}-{int(moment) // 60}"


def job_of(owner: Json, name: str, moment: float, zone: tzinfo) -> Json:
    """The Job (as JSON, without its owner) for a time; `owner` is the whole CronJob as JSON."""
    template = owner["spec"].get("jobTemplate") or {}
    given = template.get("metadata") or {}
    stamp = datetime.fromtimestamp(moment, zone).isoformat(timespec="seconds").replace("+00:00", "Z")
    meta: Json = {
        "name": name, "namespace": owner["metadata"]["namespace"],
        "annotations": {**(given.get("annotations") or {}), SCHEDULED: stamp},
    }  # fmt: skip
    if given.get("labels"):
        meta["labels"] = given["labels"]
    return {"metadata": meta, "spec": template.get("spec") or {}}


def reference(job: Job) -> Json:
    meta = job.metadata
    return {
        "apiVersion": JOBS.api_version, "kind": "Job", "name": meta.name, "namespace": meta.namespace,
        "uid": meta.uid, "resourceVersion": meta.resource_version,
    }  # fmt: skip


def _status(owner: CronJob, jobs: Sequence[Job], running: Sequence[Job]) -> Json:
    """What of the status changes, as a merge patch; empty if nothing does."""
    status = owner.status
    patch: Json = {}
    if {held.uid for held in status.active} != {job.metadata.uid for job in running}:
        patch["active"] = [reference(job) for job in running] or None
    ends = [job.status.completion_time for job in jobs if job.finished and job.status.completion_time]
    last = max([*ends, *filter(None, (status.last_successful_time,))], default=None)
    if last != status.last_successful_time:
        patch["lastSuccessfulTime"] = last
    return patch


def _surplus(owner: CronJob, jobs: Sequence[Job]) -> list[Job]:
    """Jobs beyond what is kept of those that succeeded, and of those that failed."""
    ended = sorted(
        (job for job in jobs if job.finished and job.metadata.deletion_timestamp is None),
        key=lambda job: (job.status.start_time or job.metadata.creation_timestamp, job.metadata.name),
    )
    good = [job for job in ended if job.condition("Complete") is not None]
    bad = [job for job in ended if job not in good]
    spec = owner.spec
    kept = ((good, spec.successful_jobs_history_limit), (bad, spec.failed_jobs_history_limit))
    return [job for each, limit in kept for job in each[: max(len(each) - limit, 0)]]
