"""The CronJob controller: a Job at every time of a schedule.

`cronjob_plan.plan` decides everything from what the informers show; `reconcile` carries the plan out.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.errors import AlreadyExists, ApiError, NotFound
from tiphys.api.meta import Key, owner_reference
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.client.events import reference as about
from tiphys.controllers.base import After, Context
from tiphys.controllers.cronjob_plan import Plan, job_name, job_of, plan, reference
from tiphys.controllers.owned_pods import ending
from tiphys.controllers.ownership import CONTROLLER, controllers
from tiphys.kinds.batch.cronjob import CRON_JOBS, CronJob
from tiphys.kinds.batch.job import JOBS, Job

_KIND = "CronJob"
# Timers do not run while a machine sleeps, and clocks are set: nobody oversleeps by more than this.
_LONGEST_WAIT = 300.0


class CronJobController:
    name = "cronjob-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._owners = context.watch(CRON_JOBS)
        self._jobs = context.watch(JOBS, _keys_of)
        self._jobs.add_index(CONTROLLER, controllers)
        self._client, self._job_client = context.client.of(CRON_JOBS), context.client.of(JOBS)

    async def reconcile(self, key: Key) -> After | None:
        owner = self._owners.get(key)
        if owner is None:
            return None
        planned = plan(owner, self._jobs.by(CONTROLLER, owner.metadata.uid), self._context.clock.time())
        for reason, text, warning in planned.events:
            self._record(owner, reason, text, warning=warning)
        for job in planned.delete:
            if await self._delete(job):
                self._record(owner, "SuccessfulDelete", f"Deleted job {job.metadata.name}")
        if planned.start is not None:
            await self._start(owner, planned, planned.start)
        elif planned.status:
            await self._write_status(owner, planned.status)
        for job in planned.surplus:
            await self._delete(job)
        return After(min(planned.again, _LONGEST_WAIT)) if planned.again is not None else None

    async def _start(self, owner: CronJob, planned: Plan, moment: float) -> None:
        """Make the Job of a time, and remember that."""
        meta = owner.metadata
        whole = await self._client.get_json(meta.name, meta.namespace)
        if whole["metadata"]["uid"] != meta.uid:
            return
        wanted = job_of(whole, job_name(owner, moment), moment, planned.zone)
        wanted["metadata"]["ownerReferences"] = [owner_reference(CRON_JOBS.api_version, _KIND, meta)]
        job = await self._create(owner, wanted)
        if job is None:
            return
        gone = {each.metadata.uid for each in planned.delete}
        running = [
            each for each in self._jobs.by(CONTROLLER, meta.uid)
            if not each.finished and each.metadata.uid not in {job.metadata.uid, *gone}
        ]  # fmt: skip
        active = [reference(each) for each in sorted([*running, job], key=lambda each: each.metadata.name)]
        await self._write_status(owner, {**planned.status, "active": active, "lastScheduleTime": rfc3339(moment)})

    async def _create(self, owner: CronJob, wanted: Json) -> Job | None:
        """None where there is nothing to remember: the namespace is going."""
        name, namespace = wanted["metadata"]["name"], wanted["metadata"]["namespace"]
        try:
            made: Job = await self._job_client.create(wanted)
        except AlreadyExists as error:
            held: Job = await self._job_client.get(name, namespace)
            above = held.metadata.controller
            if above is not None and above.uid == owner.metadata.uid:
                # Made before, but not remembered.
                return held
            self._record(owner, "FailedCreate", f"Error creating job: {error.message}", warning=True)
            raise
        except ApiError as error:
            if ending(error):
                return None
            self._record(owner, "FailedCreate", f"Error creating job: {error.message}", warning=True)
            raise
        self._record(owner, "SuccessfulCreate", f"Created job {name}")
        return made

    async def _delete(self, job: Job) -> bool:
        try:
            await self._job_client.delete(job.metadata, propagation="Background")
        except NotFound:
            return False
        return True

    async def _write_status(self, owner: CronJob, status: Json) -> None:
        meta = owner.metadata
        try:
            await self._client.patch(meta, {"metadata": {"uid": meta.uid}, "status": status}, subresource="status")
        except NotFound:
            return

    def _record(self, owner: CronJob, reason: str, text: str, *, warning: bool = False) -> None:
        subject = about(CRON_JOBS.api_version, _KIND, owner.metadata)
        self._context.recorder.record(subject, reason, text, warning=warning)


def _keys_of(job: Job) -> Iterable[str]:
    owner = job.metadata.controller
    if owner is not None and owner.kind == _KIND and owner.api_version == CRON_JOBS.api_version:
        yield f"{job.metadata.namespace}/{owner.name}"
