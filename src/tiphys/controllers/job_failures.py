"""What the end of a Job's pods means: which failures count, which end the Job or an index, how long to wait after them.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/#handling-pod-and-container-failures
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tiphys.api.resource import Json
from tiphys.api.time import seconds
from tiphys.base.backoff import Backoff
from tiphys.kinds.batch.indexes import read_indexes
from tiphys.kinds.batch.job import FailureExitCodes, FailurePolicyRule, Job
from tiphys.kinds.core.pod import ContainerStatus, Pod

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES, IGNORED = "batch.kubernetes.io/job-index-failure-count", "batch.kubernetes.io/job-index-ignored-failure-count"
_BACKOFF = Backoff(10.0, 600.0, jitter=0.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of the failure policy on a failed pod. `fails_job` says why the whole Job is to fail, empty if it is not."""

    counts: bool = True
    fails_index: bool = False
    fails_job: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """How often pods have failed since one succeeded, and when the last did (unix seconds)."""

    failures: int = 0
    last: float = 0.0

    def left(self, now: float) -> float:
        """Seconds to wait yet before another pod is made."""
        return self.last + _BACKOFF.delay(self.failures - 1) - now if self.failures else 0.0

    def after(self, succeeded: Sequence[Pod], failed: Sequence[Pod]) -> Record:
        if not succeeded and not failed:
            return self
        times = sorted(finished_at(pod) for pod in failed)
        if not succeeded:
            return Record(self.failures + len(times), times[-1])
        last = max(finished_at(pod) for pod in succeeded)
        times = [at for at in times if at > last]
        return Record(len(times), times[-1] if times else 0.0)


def failed(job: Job, pod: Pod) -> bool:
    """A pod that is going counts as failed, unless only pods that ended are replaced."""
    if pod.status.phase == "Failed":
        return True
    return not replaces_failed_only(job) and pod.deleted and pod.status.phase != "Succeeded"


def replaces_failed_only(job: Job) -> bool:
    return job.spec.pod_replacement_policy == "Failed" or job.spec.pod_failure_policy is not None


def judge(job: Job, pod: Pod) -> Verdict:
    policy = job.spec.pod_failure_policy
    for position, rule in enumerate(policy.rules if policy is not None else ()):
        what = _matches(rule, pod)
        if not what or (rule.action == "FailIndex" and job.spec.backoff_limit_per_index is None):
            continue
        if rule.action == "FailJob":
            return Verdict(fails_job=f"{what} matching FailJob rule at index {position}")
        return Verdict(counts=rule.action != "Ignore", fails_index=rule.action == "FailIndex")
    return Verdict()


def _matches(rule: FailurePolicyRule, pod: Pod) -> str:
    """What of the pod matches, in words; empty if nothing does."""
    key = pod.metadata.key
    if rule.on_exit_codes is not None:
        for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
            code = _exit_code(status, rule.on_exit_codes)
            if code:
                return f"Container {status.name} for pod {key} failed with exit code {code}"
        return ""
    for condition in pod.status.conditions:
        if any((wanted.type, wanted.status) == (condition.type, condition.status) for wanted in rule.on_pod_conditions):
            return f"Pod {key} has condition {condition.type}"
    return ""


def _exit_code(status: ContainerStatus, wanted: FailureExitCodes) -> int:
    ended = status.state.terminated
    if ended is None or ended.exit_code == 0 or wanted.container_name not in (None, status.name):
        return 0
    return ended.exit_code if (ended.exit_code in wanted.values) == (wanted.operator == "In") else 0


def finished_at(pod: Pod) -> float:
    """When a pod ended, as well as can be said; unix seconds."""
    ends = [status.state.terminated for status in pod.status.container_statuses]
    times = [end.finished_at for end in ends if end is not None and end.finished_at]
    if times and len(times) == len(ends):
        return max(map(seconds, times))
    ready = pod.status.condition("Ready")
    if ready is not None and ready.status == "False" and ready.last_transition_time:
        return seconds(ready.last_transition_time)
    meta = pod.metadata
    if meta.deletion_timestamp is not None:
        return seconds(meta.deletion_timestamp) - (meta.deletion_grace_period_seconds or 0)
    return seconds(meta.creation_timestamp) if meta.creation_timestamp else 0.0


def index_of(pod: Pod) -> int | None:
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdecimal() else None


def failures_of(pod: Pod) -> tuple[int, int]:
    """Failures of its index before this pod: those that count and those that were ignored."""
    found = [pod.metadata.annotations.get(name, "") for name in (FAILURES, IGNORED)]
    counted, ignored = (int(text) if text.isdecimal() else 0 for text in found)
    return counted, ignored


def index_failed(job: Job, pod: Pod) -> bool:
    """Whether this failed pod was the last of its index."""
    verdict, limit = judge(job, pod), job.spec.backoff_limit_per_index or 0
    return verdict.fails_index or (verdict.counts and failures_of(pod)[0] >= limit)


def failure_annotations(job: Job, before: Pod | None) -> Json:
    """What the pod of an index with a limit of its own is told; `before` is the failed one that it replaces."""
    counted, ignored = failures_of(before) if before is not None else (0, 0)
    if before is not None:
        counts = judge(job, before).counts
        counted, ignored = counted + counts, ignored + (not counts)
    return {FAILURES: str(counted)} | ({IGNORED: str(ignored)} if ignored else {})


def index_wait(before: Pod | None, now: float) -> float:
    """Seconds until the pod of an index may be made after `before`."""
    return Record(sum(failures_of(before)) + 1, finished_at(before)).left(now) if before is not None else 0.0


def restarted_too_often(job: Job, pods: Iterable[Pod]) -> bool:
    """Of containers that are restarted where they are, the restarts count."""
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    count = sum(
        status.restart_count
        for pod in pods if pod.status.phase in ("Running", "Pending")
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )  # fmt: skip
    return count >= max(job.spec.backoff_limit, 1)


def success_policy_met(job: Job, succeeded: set[int]) -> str:
    """Which rule is met, in words; empty if none is."""
    policy = job.spec.success_policy
    if policy is None or not succeeded:
        return ""
    for position, rule in enumerate(policy.rules):
        wanted, done = rule.succeeded_count, succeeded
        if rule.succeeded_indexes is not None:
            required = read_indexes(rule.succeeded_indexes, job.spec.completions or 0)
            done = succeeded & required
            wanted = len(required) if wanted is None else wanted
        if wanted and len(done) >= wanted:
            return f"Matched rules at index {position}"
    return ""
