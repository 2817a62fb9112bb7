"""The status of a Job, as its controller writes it.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#terminal-job-conditions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.controllers.conditions import condition
from tiphys.kinds.batch.indexes import format_indexes

if TYPE_CHECKING:
    from tiphys.controllers.job_plan import View

SUCCESS, FAILURE_TARGET, COMPLETE, FAILED = "SuccessCriteriaMet", "FailureTarget", "Complete", "Failed"


@dataclass(frozen=True, slots=True)
class End:
    """What is announced before the end is reached."""

    type: str
    reason: str
    message: str


def status_patch(
    view: View, end: End | None, uncounted: tuple[Sequence[str], Sequence[str]], events: list[tuple[str, str, bool]],
    *, over: bool,
) -> Json:  # fmt: skip
    """What of the status changes, as a merge patch; empty if nothing does.

    `uncounted` holds the uids of pods that ended; `over`: nothing of the Job is left. Events (reason, text, whether it
    warns) are appended to `events`.
    """
    job, status = view.job, view.job.status
    old = msgspec.to_builtins(status)
    wanted: Json = {
        "active": len(view.active), "ready": sum(pod.ready for pod in view.active),
        "terminating": len(view.terminating), **_counts(view, uncounted),
        "startTime": status.start_time,
    }  # fmt: skip
    if status.start_time is None and not job.spec.suspend:
        wanted["startTime"] = rfc3339(view.now)
    conditions = list(old.get("conditions") or ())
    if end is not None:
        _put(conditions, end.type, end.reason, end.message, view.now)
        if over:
            _finish(view, end, conditions, wanted, events)
    elif job.metadata.deletion_timestamp is None:
        _suspension(view, conditions, wanted, events)
    if conditions != (old.get("conditions") or []):
        wanted["conditions"] = conditions
    fresh = status.start_time is None and not status.conditions
    return {
        name: value for name, value in wanted.items()
        if old.get(name, _NOTHING.get(name)) != value or (fresh and name in ("ready", "terminating", _UNCOUNTED))
    }  # fmt: skip


_UNCOUNTED = "uncountedTerminatedPods"
_NOTHING = {
    "active": 0, "ready": 0, "terminating": 0, "succeeded": 0, "failed": 0, "completedIndexes": "", _UNCOUNTED: {},
}  # fmt: skip


def _counts(view: View, uncounted: tuple[Sequence[str], Sequence[str]]) -> Json:
    """Uids that are no longer uncounted are counted."""
    status, before = view.job.status, view.job.status.uncounted_terminated_pods
    succeeded, failing = uncounted
    counts: Json = {
        "succeeded": status.succeeded + len(set(before.succeeded) - set(succeeded)),
        "failed": status.failed + len(set(before.failed) - set(failing)),
    }
    if view.indexed:
        counts["succeeded"] = view.succeeded
        counts["completedIndexes"] = format_indexes(view.completed_indexes)
        if view.failed_indexes is not None:
            counts["failedIndexes"] = format_indexes(view.failed_indexes)
    if (list(succeeded), list(failing)) != (before.succeeded, before.failed):
        # null takes an empty list away.
        counts[_UNCOUNTED] = {"succeeded": list(succeeded) or None, "failed": list(failing) or None}
    elif not succeeded and not failing:
        counts[_UNCOUNTED] = {}
    return counts


def _finish(view: View, end: End, conditions: list[Json], wanted: Json, events: list[tuple[str, str, bool]]) -> None:
    job = view.job
    if end.type == SUCCESS:
        _put(conditions, COMPLETE, end.reason, end.message, view.now)
        wanted["completionTime"] = rfc3339(view.now)
        completions = job.spec.completions
        if completions is not None and view.succeeded > completions:
            text = "Too many succeeded pods running after completion count reached"
            events.append(("TooManySucceededPods", text, True))
        events.append(("Completed", "Job completed", False))
    else:
        _put(conditions, FAILED, end.reason, end.message, view.now)
        events.append((end.reason, end.message, True))
    if wanted["startTime"] is None:
        wanted["startTime"] = rfc3339(view.now)


def _suspension(view: View, conditions: list[Json], wanted: Json, events: list[tuple[str, str, bool]]) -> None:
    held, suspend = condition(conditions, "Suspended"), view.job.spec.suspend
    if suspend and (held is None or held["status"] != "True"):
        _put(conditions, "Suspended", "JobSuspended", "Job suspended", view.now)
        events.append(("Suspended", "Job suspended", False))
    elif not suspend and held is not None and held["status"] == "True":
        _put(conditions, "Suspended", "JobResumed", "Job resumed", view.now, status="False")
        events.append(("Resumed", "Job resumed", False))
        # The deadline counts the time in which the job may run without a break.
        wanted["startTime"] = rfc3339(view.now)


def _put(
    conditions: list[Json], type_: str, reason: str, message: str, now: float, *, status: str = "True"
) -> None:  # fmt: skip
    stamp = rfc3339(now)
    made = {
        "type": type_, "status": status, "reason": reason, "message": message, "lastProbeTime": stamp,
        "lastTransitionTime": stamp,
    }  # fmt: skip
    held = condition(conditions, type_)
    if held is None:
        conditions.append(made)
    elif (held["status"], held.get("reason", "")) != (status, reason):
        conditions[conditions.index(held)] = made
