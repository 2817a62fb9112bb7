"""Validation of what the Job controller reports.

Source: upstream's `validateJobStatus` and `ValidateJobStatusUpdate`.
"""

from __future__ import annotations

from tiphys.api.errors import duplicate, invalid, omitted, required
from tiphys.api.resource import Json
from tiphys.kinds.batch.indexes import count_indexes, overlap
from tiphys.kinds.checks import Errors, non_negative
from tiphys.kinds.fields import dig

_CONDITIONS = "status.conditions"
_TERMINAL = ("Failed", "Complete", "FailureTarget")


def _true(status: Json) -> set[str]:
    """Types of the conditions that hold."""
    return {c.get("type") or "" for c in status.get("conditions") or () if c.get("status") == "True"}


def check_status_update(new: Json, old: Json) -> Errors:
    """Both are Jobs whose statuses differ."""
    status, before = new.get("status") or {}, old.get("status") or {}
    yield from non_negative(status, "status", "active", "succeeded", "failed", "ready", "terminating")
    yield from _check_uncounted(status.get("uncountedTerminatedPods") or {})
    yield from _check_conditions(status, dig(new, "spec", "successPolicy") is not None)
    yield from _check_times(status)
    yield from _check_finished(status)
    yield from _check_indexes(new.get("spec") or {}, status, before)
    if (status.get("ready") or 0) > (status.get("active") or 0):
        yield invalid("status.ready", status["ready"], "cannot set more ready pods than active")
    yield from _check_transition(new, status, before)


def _check_uncounted(pods: Json) -> Errors:
    seen: set[str] = set()
    for name in ("succeeded", "failed"):
        for index, uid in enumerate(pods.get(name) or ()):
            where = f"status.uncountedTerminatedPods.{name}[{index}]"
            if not uid:
                yield invalid(where, uid, "must not be empty")
            elif uid in seen:
                yield duplicate(where, uid)
            seen.add(uid)


def _check_conditions(status: Json, has_policy: bool) -> Errors:
    """Which may hold at once, and which must."""
    true = _true(status)
    complete, failed = "Complete" in true, "Failed" in true
    met, target = "SuccessCriteriaMet" in true, "FailureTarget" in true
    if complete and failed:
        yield omitted(_CONDITIONS, "cannot set Complete=True and Failed=true conditions")
    if complete and target:
        yield omitted(_CONDITIONS, "cannot set Complete=True and FailureTarget=true conditions")
    if failed and not target:
        yield omitted(_CONDITIONS, "cannot set Failed=True condition without the FailureTarget=true condition")
    if complete and not met:
        rule = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        yield omitted(_CONDITIONS, rule)
    if met and failed:
        yield omitted(_CONDITIONS, "cannot set SuccessCriteriaMet=True and Failed=true conditions")
    if met and target:
        yield omitted(_CONDITIONS, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
    if has_policy and complete and not met:
        rule = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        yield omitted(_CONDITIONS, rule)


def _check_times(status: Json) -> Errors:
    start, end, complete = status.get("startTime"), status.get("completionTime"), "Complete" in _true(status)
    where = "status.completionTime"
    if end is not None and not complete:
        yield invalid(where, end, "cannot set completionTime when there is no Complete=True condition")
    if end is None and complete:
        yield required(where, "completionTime is required for Complete jobs")
    if start is not None and end is not None and end < start:
        yield invalid(where, end, "completionTime cannot be set before startTime")


def _check_finished(status: Json) -> Errors:
    if not _true(status) & {"Complete", "Failed"}:
        return
    for field in ("active", "terminating"):
        if (status.get(field) or 0) > 0:
            yield invalid(f"status.{field}", status[field], f"{field}>0 is invalid for finished job")
    if status.get("startTime") is None:
        yield required("status.startTime", "startTime is required for finished job")
    pods = status.get("uncountedTerminatedPods") or {}
    if pods.get("succeeded") or pods.get("failed"):
        rule = "uncountedTerminatedPods needs to be empty for finished job"
        yield invalid("status.uncountedTerminatedPods", pods, rule)


def _check_indexes(spec: Json, status: Json, before: Json) -> Errors:
    completions = spec.get("completions")
    completed, failed = status.get("completedIndexes") or "", status.get("failedIndexes")
    if completed != (before.get("completedIndexes") or ""):
        if completions is not None:
            yield from _check_format(completed, completions, "completedIndexes")
        if completed and spec.get("completionMode") != "Indexed":
            rule = "cannot set non-empty completedIndexes when non-indexed completion mode"
            yield invalid("status.completedIndexes", completed, rule)
    if failed is None or failed == before.get("failedIndexes"):
        return
    if spec.get("backoffLimitPerIndex") is None:
        rule = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        yield invalid("status.failedIndexes", failed, rule)
    elif completions is not None:
        yield from _check_format(failed, completions, "failedIndexes")
    shared = overlap(completed, failed, completions) if completions is not None else None
    if shared is not None:
        rule = f"failedIndexes and completedIndexes overlap at index: {shared}"
        yield invalid("status.failedIndexes", failed, rule)


def _check_format(text: str, completions: int, field: str) -> Errors:
    try:
        count_indexes(text, completions)
    except ValueError as error:
        yield invalid(f"status.{field}", text, f"error parsing {field}: {error}")


def _check_transition(new: Json, status: Json, before: Json) -> Errors:
    true, was = _true(status), _true(before)
    for condition in _TERMINAL:
        if condition in was and condition not in true:
            yield omitted(_CONDITIONS, f"cannot disable the terminal {condition}=True condition")
    spec = new.get("spec") or {}
    # One that shrinks with its parallelism forgets indexes beyond its completions.
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for field in ("failed",) if elastic else ("failed", "succeeded"):
        if (status.get(field) or 0) < (before.get(field) or 0):
            yield invalid(f"status.{field}", status.get(field) or 0, f"cannot decrease the {field} counter")
    end = status.get("completionTime")
    if end is not None and before.get("completionTime") not in (None, end):
        yield invalid("status.completionTime", end, "completionTime cannot be mutated")
    start = before.get("startTime")
    if start is not None and status.get("startTime") != start and not dig(new, "spec", "suspend"):
        yield required("status.startTime", "startTime cannot be removed for unsuspended job")
    if "SuccessCriteriaMet" in was and "SuccessCriteriaMet" not in true:
        yield omitted(_CONDITIONS, "cannot disable the SuccessCriteriaMet=True condition")
    if "Complete" in was and "SuccessCriteriaMet" not in was and "SuccessCriteriaMet" in true:
        rule = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        yield omitted(_CONDITIONS, rule)
