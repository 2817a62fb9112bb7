"""Job. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import text_at


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


JOBS = declare(
    Job, group="batch", version="v1", kind="Job", plural="jobs", categories=("all",), status=True,
    selectable_fields={"status.successful": lambda obj: text_at("status", "succeeded")(obj) or "0"},
)  # fmt: skip
