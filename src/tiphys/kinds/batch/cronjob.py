"""CronJob. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/cron-job-v1/"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, not_supported, required
from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.api.resource import Column, Json
from tiphys.kinds.batch import cron
from tiphys.kinds.batch.job import JobSpec
from tiphys.kinds.batch.job_rules import check_job_spec
from tiphys.kinds.checks import non_negative
from tiphys.kinds.columns import AGE, NAME, NONE, at, column, since, template_columns
from tiphys.kinds.core.pod_defaults import default_template
from tiphys.kinds.core.pod_warnings import template_warnings
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default, put_text
from tiphys.kinds.strategy import StatusStrategy


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


class CronJobStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        put_text(spec, "concurrencyPolicy", "Allow")
        put_default(spec, "suspend", False)
        put_default(spec, "successfulJobsHistoryLimit", 3)
        put_default(spec, "failedJobsHistoryLimit", 1)
        template = dig(spec, "jobTemplate", "spec", "template")
        if template:
            default_template(template)

    def check_name(self, meta: Json) -> Iterator[FieldError]:
        yield from super().check_name(meta)
        if len(meta.get("name") or "") > 52:
            # The controller appends 11 characters to name its jobs.
            yield invalid("metadata.name", meta["name"], "must be no more than 52 characters")

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec, before = new.get("spec") or {}, (old or {}).get("spec")
        if spec != before:
            yield from _check_spec(spec, before)

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        if old is None:
            problems = names.dns1123_label(dig(new, "metadata", "name") or "")
            if problems:
                use = "this is used in Pod names and hostnames, which can result in surprising behavior"
                yield f"metadata.name: {use}; a DNS label is recommended: [{' '.join(problems)}]"
        if old is not None and new.get("spec") == old.get("spec"):
            return
        yield from template_warnings(dig(new, *_TEMPLATE, "template"), "spec.jobTemplate.spec.template")
        if "TZ" in (dig(new, "spec", "schedule") or ""):
            where = "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/"
            rule = "cannot use TZ or CRON_TZ in spec.schedule, use timeZone field instead"
            yield f"{rule}, see {where} for more details"


def _check_spec(spec: Json, before: Json | None) -> Iterator[FieldError]:
    schedule = spec.get("schedule") or ""
    if not schedule:
        yield required("spec.schedule")
    else:
        for problem in cron.problems(schedule):
            yield invalid("spec.schedule", schedule, problem)
    yield from non_negative(spec, "spec", "startingDeadlineSeconds")
    zone = spec.get("timeZone")
    if zone is not None and zone != (before or {}).get("timeZone"):
        yield from _check_zone(zone)
    policy = spec.get("concurrencyPolicy")
    if policy not in ("Allow", "Forbid", "Replace"):
        yield not_supported("spec.concurrencyPolicy", policy or "", ("Allow", "Forbid", "Replace"))
    job, where = dig(spec, "jobTemplate", "spec") or {}, "spec.jobTemplate.spec"
    yield from check_job_spec(job, where)
    if job.get("selector") is not None:
        yield invalid(f"{where}.selector", job["selector"], "`selector` will be auto-generated")
    if job.get("manualSelector"):
        yield not_supported(f"{where}.manualSelector", True, ("nil", "false"))
    yield from non_negative(spec, "spec", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")


def _check_zone(zone: str) -> Iterator[FieldError]:
    if not zone:
        yield invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        rule = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield invalid("spec.timeZone", zone, rule)
    elif zone not in zoneinfo.available_timezones():
        yield invalid("spec.timeZone", zone, f"unknown time zone {zone}")


def _last(obj: Json, now: float) -> str:
    text = dig(obj, "status", "lastScheduleTime")
    return since(text, now) if text else NONE


_TEMPLATE = ("spec", "jobTemplate", "spec")


CRON_JOBS = declare(
    CronJob, group="batch", version="v1", kind="CronJob", plural="cronjobs", short_names=("cj",),
    categories=("all",), status=True,
    columns=(
        NAME, at("Schedule", "spec", "schedule"), at("Timezone", "spec", "timeZone", empty=NONE),
        column("Suspend", lambda obj: str(bool(dig(obj, "spec", "suspend")))),
        column("Active", lambda obj: len(dig(obj, "status", "active") or ()), "integer"),
        Column("Last Schedule", _last), AGE,
        *template_columns(*_TEMPLATE, "template", selector=(*_TEMPLATE, "selector")),
    ),
    strategy=CronJobStrategy(),
)  # fmt: skip
