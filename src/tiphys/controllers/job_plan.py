"""What a Job's controller does next: one pure function over what the informers show.

A finalizer holds every pod until the status has counted it, in steps that may be cut off anywhere: the uid of a pod
that ended is written down as uncounted (or its index as completed), then its finalizer is taken off, then the uid is
counted.
An end is announced (SuccessCriteriaMet, FailureTarget), then reached when no pod is left.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tiphys.api.resource import Json
from tiphys.api.time import seconds
from tiphys.controllers.job_failures import (
    TRACKING,
    Record,
    failed,
    failures_of,
    index_failed,
    index_of,
    index_wait,
    judge,
    replaces_failed_only,
    restarted_too_often,
    success_policy_met,
)
from tiphys.controllers.job_status import FAILURE_TARGET, SUCCESS, End, status_patch
from tiphys.controllers.pods import active, deletion_order
from tiphys.kinds.batch.indexes import read_indexes
from tiphys.kinds.batch.job import Job
from tiphys.kinds.core.pod import Pod

# No reconcile makes or deletes more than this; the next one goes on.
_BURST = 500
# So many uids at most are in a status.
_UNCOUNTED = 500


@dataclass(slots=True)
class Plan:
    """In this order: `create` (index, and the failed pod it replaces), `drop` (finalizer off, then delete), `end`
    (delete), the status, `release` (finalizers off). `record` is kept once the status is written."""

    create: list[tuple[int | None, Pod | None]] = field(default_factory=list)
    drop: Sequence[Pod] = ()
    end: Sequence[Pod] = ()
    status: Json = field(default_factory=dict)
    release: Sequence[Pod] = ()
    record: Record = field(default_factory=Record)
    events: list[tuple[str, str, bool]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)


@dataclass(slots=True)
class View:
    """A Job as one moment shows it; the rest follows from what it is made of."""

    job: Job
    pods: Sequence[Pod]
    now: float
    tracked: list[Pod] = field(default_factory=list)
    active: list[Pod] = field(default_factory=list)
    terminating: list[Pod] = field(default_factory=list)
    # Those of this moment, which the status does not know of.
    new_succeeded: list[Pod] = field(default_factory=list)
    new_failed: list[Pod] = field(default_factory=list)
    succeeded: int = 0
    failed: int = 0
    completed_indexes: set[int] = field(default_factory=set)
    failed_indexes: set[int] | None = None
    # By index: the pod whose finalizer stays until another takes over its count of failures.
    delayed: dict[int, Pod] = field(default_factory=dict)

    def __post_init__(self) -> None:
        job, status = self.job, self.job.status
        uncounted = status.uncounted_terminated_pods
        self.tracked = [pod for pod in self.pods if TRACKING in pod.metadata.finalizers]
        self.active = [pod for pod in self.pods if active(pod)]
        self.terminating = [pod for pod in self.pods if pod.deleted and not pod.finished]
        known = {*uncounted.succeeded, *uncounted.failed}
        new = [pod for pod in self.tracked if pod.metadata.uid not in known and self.valid(pod)]
        self.new_succeeded = [pod for pod in new if pod.status.phase == "Succeeded"]
        self.new_failed = [pod for pod in new if failed(job, pod)]
        self.succeeded = status.succeeded + len(uncounted.succeeded) + len(self.new_succeeded)
        counting = sum(judge(job, pod).counts for pod in self.new_failed)
        self.failed = status.failed + len(uncounted.failed) + counting
        if self.indexed:
            self._index()

    def _index(self) -> None:
        job, size = self.job, self.completions
        self.completed_indexes = read_indexes(job.status.completed_indexes, size)
        self.completed_indexes.update(index_of(pod) or 0 for pod in self.new_succeeded)
        self.succeeded = len(self.completed_indexes)
        if job.spec.backoff_limit_per_index is None:
            return
        ended = [pod for pod in self.tracked if self.valid(pod) and failed(job, pod)]
        over = {index_of(pod) or 0 for pod in ended if index_failed(job, pod)}
        self.failed_indexes = (read_indexes(job.status.failed_indexes or "", size) | over) - self.completed_indexes
        taken = {index_of(pod) for pod in self.active}
        for pod in sorted(ended, key=lambda each: (*_attempt(each), each.metadata.name)):
            index = index_of(pod) or 0
            if index not in taken and index not in self.completed_indexes and index not in self.failed_indexes:
                self.delayed[index] = pod

    @property
    def indexed(self) -> bool:
        return self.job.spec.completion_mode == "Indexed"

    @property
    def completions(self) -> int:
        return self.job.spec.completions or 0

    def valid(self, pod: Pod) -> bool:
        """Whether the pod is for something that the Job is to do."""
        index = index_of(pod)
        return not self.indexed or (index is not None and index < self.completions)


def _attempt(pod: Pod) -> tuple[int, str]:
    return sum(failures_of(pod)), pod.metadata.creation_timestamp


def plan(job: Job, pods: Sequence[Pod], record: Record, now: float) -> Plan:
    """`pods` are those that `job`, which has not finished, owns; `record` is of its earlier failures."""
    view, planned = View(job, pods, now), Plan()
    planned.record = record.after(view.new_succeeded, view.new_failed)
    end = _end(view, planned)
    if end is not None:
        planned.end = view.active
    elif job.metadata.deletion_timestamp is None:
        _manage(view, planned)
    succeeded, failing = _account(view, end, planned)
    left = len(view.active) + len(view.terminating) + len(succeeded) + len(failing) + len(planned.release)
    planned.status = status_patch(view, end, (succeeded, failing), planned.events, over=not left)
    return planned


def _end(view: View, planned: Plan) -> End | None:
    """How the Job is to end, if it is."""
    job, spec = view.job, view.job.spec
    for type_ in (SUCCESS, FAILURE_TARGET):
        held = job.condition(type_)
        if held is not None and held.status == "True":
            return End(type_, held.reason, held.message)
    verdicts = (judge(job, pod).fails_job for pod in view.tracked if failed(job, pod))
    message = next((text for text in verdicts if text), "")
    if message:
        return End(FAILURE_TARGET, "PodFailurePolicy", message)
    if view.failed > spec.backoff_limit or restarted_too_often(job, view.pods):
        return End(FAILURE_TARGET, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if spec.active_deadline_seconds is not None and job.status.start_time and not spec.suspend:
        left = seconds(job.status.start_time) + spec.active_deadline_seconds - view.now
        if left <= 0:
            return End(FAILURE_TARGET, "DeadlineExceeded", "Job was active longer than specified deadline")
        planned.waits.append(left)
    elif spec.active_deadline_seconds is not None and not spec.suspend:
        planned.waits.append(float(spec.active_deadline_seconds))
    return _end_of_indexes(view) or _completion(view)


def _end_of_indexes(view: View) -> End | None:
    spec, lost = view.job.spec, len(view.failed_indexes or ())
    if spec.max_failed_indexes is not None and lost > spec.max_failed_indexes:
        text = "Job has exceeded the specified maximal number of failed indexes"
        return End(FAILURE_TARGET, "MaxFailedIndexesExceeded", text)
    if lost and lost + len(view.completed_indexes) >= view.completions:
        return End(FAILURE_TARGET, "FailedIndexes", "Job has failed indexes")
    met = success_policy_met(view.job, view.completed_indexes)
    return End(SUCCESS, "SuccessPolicy", met) if met else None


def _completion(view: View) -> End | None:
    enough = max(view.completions, 0) if view.job.spec.completions is not None else 1
    if view.active or view.succeeded < enough:
        return None
    return End(SUCCESS, "CompletionsReached", "Reached expected number of succeeded pods")


def _manage(view: View, planned: Plan) -> None:
    spec, running = view.job.spec, len(view.active)
    if spec.suspend:
        planned.drop = view.active[:_BURST]
        return
    if spec.completions is None:
        wanted = running if view.succeeded else spec.parallelism
    else:
        wanted = max(min(spec.completions - view.succeeded, spec.parallelism), 0)
    planned.drop = _surplus(view, max(running - wanted, 0))[:_BURST]
    missing = wanted - running - (len(view.terminating) if replaces_failed_only(view.job) else 0)
    if planned.drop or missing <= 0:
        return
    if spec.backoff_limit_per_index is None:
        wait = planned.record.left(view.now)
        if wait > 0:
            planned.waits.append(wait)
            return
    missing = min(missing, _BURST)
    if not view.indexed:
        planned.create = [(None, None)] * missing
        return
    for index in _pending(view, missing):
        wait = index_wait(view.delayed.get(index), view.now)
        if wait > 0:
            planned.waits.append(wait)
        else:
            planned.create.append((index, view.delayed.get(index)))


def _surplus(view: View, least: int) -> Sequence[Pod]:
    """Pods without use: of no valid index, of an index that has another; then as many more as are too many."""
    ordered = deletion_order(view.active, {}, view.now)
    if not view.indexed:
        return ordered[:least]
    useless, seen = [], set()
    for pod in reversed(ordered):
        index = index_of(pod)
        if index in seen or not view.valid(pod):
            useless.append(pod)
        seen.add(index)
    rest = [pod for pod in ordered if pod not in useless]
    return [*useless, *rest[: max(least - len(useless), 0)]]


def _pending(view: View, count: int) -> Iterable[int]:
    taken = {index_of(pod) for pod in view.active} | view.completed_indexes | (view.failed_indexes or set())
    if replaces_failed_only(view.job):
        taken |= {index_of(pod) for pod in view.terminating}
    found = 0
    for index in range(view.completions):
        if index not in taken:
            yield index
            found += 1
        if found == count:
            return


def _account(view: View, end: End | None, planned: Plan) -> tuple[list[str], list[str]]:
    """The uids that the status is to hold as uncounted, and into `planned` the pods to let go of after that."""
    job, uncounted = view.job, view.job.status.uncounted_terminated_pods
    held = {pod.metadata.uid for pod in view.tracked}
    succeeded = [uid for uid in uncounted.succeeded if uid in held]
    failing = [uid for uid in uncounted.failed if uid in held]
    lost = end is not None and end.type != SUCCESS
    over = end is not None or job.metadata.deletion_timestamp is not None
    dropped = {pod.metadata.uid for pod in planned.drop}
    # Their count of failures is still to be handed on.
    waiting = set() if over else {pod.metadata.uid for pod in view.delayed.values()}
    release = []
    for pod in view.tracked:
        uid, ended = pod.metadata.uid, failed(job, pod)
        if uid in dropped or uid in waiting or not (over or ended or pod.status.phase == "Succeeded"):
            continue
        if len(succeeded) + len(failing) >= _UNCOUNTED:
            break
        release.append(pod)
        if uid in succeeded or uid in failing or not view.valid(pod):
            continue
        if pod.status.phase == "Succeeded":
            # The index is enough to know that it was counted.
            succeeded += [] if view.indexed else [uid]
        elif (ended or lost) and judge(job, pod).counts:
            failing.append(uid)
    planned.release = release
    return succeeded, failing

