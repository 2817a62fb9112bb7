"""CronJob. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/cron-job-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.kinds.batch.job import JobSpec
from tiphys.kinds.declare import declare


class JobTemplateSpec(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()


class CronJobSpec(Model):
    schedule: str = ""
    time_zone: str | None = None
    starting_deadline_seconds: int | None = None
    concurrency_policy: str = "Allow"
    suspend: bool = False
    job_template: JobTemplateSpec = JobTemplateSpec()
    successful_jobs_history_limit: int = 3
    failed_jobs_history_limit: int = 1


class CronJobStatus(Model):
    active: list[ObjectReference] = []
    last_schedule_time: str | None = None
    last_successful_time: str | None = None


class CronJob(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: CronJobSpec = CronJobSpec()
    status: CronJobStatus = CronJobStatus()


CRON_JOBS = declare(
    CronJob, group="batch", version="v1", kind="CronJob", plural="cronjobs", short_names=("cj",),
    categories=("all",), status=True,
)  # fmt: skip
