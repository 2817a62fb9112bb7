"""Job. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import time
from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Column, Json, TextAt
from tiphys.kinds.apps.selector import check_selector
from tiphys.kinds.apps.warnings import workload_warnings
from tiphys.kinds.batch.job_rules import (
    check_generated_selector,
    check_hostnames,
    check_job_spec,
    check_job_update,
    completions_warnings,
    default_job_spec,
    select_own_pods,
)
from tiphys.kinds.batch.job_status import check_status_update
from tiphys.kinds.columns import AGE, NAME, column, template_columns
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import StatusStrategy


class FailureExitCodes(Model):
    operator: str
    values: list[int] = []
    container_name: str | None = None


class FailurePodCondition(Model):
    type: str
    status: str = "True"


class FailurePolicyRule(Model):
    action: str
    on_exit_codes: FailureExitCodes | None = None
    on_pod_conditions: list[FailurePodCondition] = []


class PodFailurePolicy(Model):
    rules: list[FailurePolicyRule] = []


class SuccessPolicyRule(Model):
    succeeded_indexes: str | None = None
    succeeded_count: int | None = None


class SuccessPolicy(Model):
    rules: list[SuccessPolicyRule] = []


class JobSpec(Model):
    parallelism: int = 1
    completions: int | None = None
    active_deadline_seconds: int | None = None
    backoff_limit: int = 6
    backoff_limit_per_index: int | None = None
    max_failed_indexes: int | None = None
    selector: LabelSelector | None = None
    manual_selector: bool = False
    template: PodTemplateSpec = PodTemplateSpec()
    ttl_seconds_after_finished: int | None = None
    completion_mode: str = "NonIndexed"
    suspend: bool = False
    pod_failure_policy: PodFailurePolicy | None = None
    success_policy: SuccessPolicy | None = None
    pod_replacement_policy: str = "TerminatingOrFailed"
    managed_by: str = ""


class JobCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_probe_time: str | None = None
    last_transition_time: str | None = None


class UncountedTerminatedPods(Model):
    succeeded: list[str] = []
    failed: list[str] = []


class JobStatus(Model):
    conditions: list[JobCondition] = []
    start_time: str | None = None
    completion_time: str | None = None
    active: int = 0
    ready: int = 0
    terminating: int = 0
    succeeded: int = 0
    failed: int = 0
    completed_indexes: str = ""
    failed_indexes: str | None = None
    uncounted_terminated_pods: UncountedTerminatedPods = UncountedTerminatedPods()


class Job(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    def condition(self, type_: str) -> JobCondition | None:
        return next((condition for condition in self.status.conditions if condition.type == type_), None)

    @property
    def finished(self) -> bool:
        return any(c.type in ("Complete", "Failed") and c.status == "True" for c in self.status.conditions)


class JobStrategy(StatusStrategy):
    """Without `manualSelector` the selector is the server's: the labels that it puts on the template."""

    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        default_job_spec(spec)
        _default_labels(new)

    def prepare(self, new: Json, old: Json | None) -> None:
        super().prepare(new, old)
        if old is None and not dig(new, "spec", "manualSelector"):
            select_own_pods(new)
            _default_labels(new)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if old is None or spec != old.get("spec"):
            if old is None:
                yield from check_generated_selector(new)
            yield from check_job_spec(spec, "spec")
            yield from check_selector(spec, "job")
            if old is None:
                yield from check_hostnames(new)
            else:
                yield from check_job_update(new, old)
        if old is not None and new.get("status") != old.get("status"):
            yield from check_status_update(new, old)

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        yield from workload_warnings(new, old)
        if old is None or new.get("spec") != old.get("spec"):
            yield from completions_warnings(new.get("spec") or {})


def _default_labels(job: Json) -> None:
    """A job without labels has those of its template."""
    labels = dig(job, "spec", "template", "metadata", "labels")
    meta = job.setdefault("metadata", {})
    if labels and not meta.get("labels"):
        meta["labels"] = dict(labels)


def _completions(obj: Json) -> str:
    succeeded = dig(obj, "status", "succeeded") or 0
    completions, parallelism = dig(obj, "spec", "completions"), dig(obj, "spec", "parallelism") or 0
    if completions is not None:
        return f"{succeeded}/{completions}"
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _status(obj: Json) -> str:
    true = {c.get("type") for c in dig(obj, "status", "conditions") or () if c.get("status") == "True"}
    for name in ("Complete", "Failed"):
        if name in true:
            return name
    if dig(obj, "metadata", "deletionTimestamp"):
        return "Terminating"
    for name in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if name in true:
            return name
    return "Running"


def _duration(obj: Json, now: float) -> str:
    start, end = dig(obj, "status", "startTime"), dig(obj, "status", "completionTime")
    if not start:
        return ""
    return time.age((time.seconds(end) if end else now) - time.seconds(start))


_ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)

JOBS = declare(
    Job, group="batch", version="v1", kind="Job", plural="jobs", categories=("all",), status=True,
    # As it was before dependents were collected; kubectl asks for Background.
    default_propagation="Orphan", deletion_warning=_ORPHANS,
    selectable_fields={"status.successful": TextAt(("status", "succeeded"), lambda value: str(value or 0))},
    columns=(
        NAME, column("Status", _status), column("Completions", _completions), Column("Duration", _duration), AGE,
        *template_columns("spec", "template", selector=("spec", "selector")),
    ),
    strategy=JobStrategy(),
)  # fmt: skip
