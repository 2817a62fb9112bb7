"""The Job controller: pods until enough of them have succeeded.

`job_plan.plan` decides everything from what the informers show; `reconcile` carries the plan out, in its order. Pods of
Jobs that are gone are let go of. Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from tiphys.api.errors import ApiError, NotFound
from tiphys.api.meta import Key, Uid
from tiphys.api.resource import Json
from tiphys.api.selectors import NOTHING, LabelSelector
from tiphys.controllers.base import After, Context
from tiphys.controllers.job_failures import INDEX, TRACKING, Record, failure_annotations
from tiphys.controllers.job_plan import Plan, plan
from tiphys.controllers.owned_pods import OwnedPods, ending
from tiphys.controllers.ownership import selector_of
from tiphys.controllers.pods import pod_from
from tiphys.kinds.batch.job import JOBS, Job
from tiphys.kinds.core.pod import Pod

_KIND, _NAME_LABEL = "Job", "batch.kubernetes.io/job-name"
_OURS = ("", "kubernetes.io/job-controller")
_ENVIRONMENT = "JOB_COMPLETION_INDEX"
# Generated names leave room for five more characters.
_MAX_PREFIX = 58
# The index of pods that have the finalizer, by the key of the Job that holds them.
_TRACKED = "tracked by job"


class JobController:
    name = "job-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.watch(JOBS)
        self._pods = OwnedPods(context, JOBS, self._jobs, _selector, finalizer=TRACKING)
        context.watch(self._pods.informer.resource, _tracked)
        self._pods.informer.add_index(_TRACKED, _tracked)
        self._client = context.client.of(JOBS)
        self._records: dict[Key, tuple[Uid, Record]] = {}

    async def reconcile(self, key: Key) -> After | None:
        job = self._jobs.get(key)
        await self._let_go(key, job)
        if job is None or job.finished:
            self._records.pop(key, None)
            return None
        if job.spec.managed_by not in _OURS:
            return None
        meta = job.metadata
        uid, record = self._records.get(key, (meta.uid, Record()))
        pods = await self._pods.of(job)
        planned = plan(job, pods, record if uid == meta.uid else Record(), self._context.clock.time())
        await self._carry_out(job, planned)
        return After(min(planned.waits)) if planned.waits else None

    async def _carry_out(self, job: Job, planned: Plan) -> None:
        """The status is written also where a pod was refused."""
        meta = job.metadata
        await self._release(planned.drop)
        await self._pods.delete(meta, [*planned.drop, *planned.end])
        failure: ApiError | None = None
        try:
            await self._create(job, planned.create)
        except ApiError as error:
            failure = error
        if planned.status:
            # Only upon what was planned from: counts must not be added twice.
            own = {"uid": meta.uid, "resourceVersion": meta.resource_version}
            try:
                await self._client.patch(meta, {"metadata": own, "status": planned.status}, subresource="status")
            except NotFound:
                return
        self._records[meta.key] = (meta.uid, planned.record)
        for reason, text, warning in planned.events:
            self._pods.record(meta, reason, text, warning=warning)
        await self._release(planned.release)
        if failure is not None:
            raise failure

    async def _create(self, job: Job, wanted: Sequence[tuple[int | None, Pod | None]]) -> None:
        if not wanted:
            return
        meta = job.metadata
        # The model holds the fields that somebody reads; pods get all that the template says.
        whole = await self._client.get_json(meta.name, meta.namespace)
        if whole["metadata"]["uid"] != meta.uid:
            return
        template, left, size = whole["spec"].get("template") or {}, list(wanted), 1
        # In growing batches, so that a server which refuses everything is asked once.
        while left:
            batch, left = left[:size], left[size:]
            made = [self._pod(job, template, index, before) for index, before in batch]
            results = await asyncio.gather(*(self._pods.create(meta, pod) for pod in made), return_exceptions=True)
            for result in results:
                if isinstance(result, ApiError) and ending(result):
                    return
                if isinstance(result, BaseException):
                    raise result
            size *= 2

    def _pod(self, job: Job, template: Json, index: int | None, before: Pod | None) -> Json:
        """The pod of `index`, which replaces `before`."""
        pod = pod_from(template, job.metadata, self._pods.owner_reference(job.metadata))
        meta = pod["metadata"]
        meta["finalizers"] = [*(meta.get("finalizers") or ()), TRACKING]
        if index is None:
            return pod
        meta["annotations"] = {**(meta.get("annotations") or {}), INDEX: str(index)}
        meta["labels"] = {**(meta.get("labels") or {}), INDEX: str(index)}
        if job.spec.backoff_limit_per_index is not None:
            meta["annotations"] |= failure_annotations(job, before)
        tail = f"-{index}-"
        meta["generateName"] = job.metadata.name[: _MAX_PREFIX - len(tail)] + tail
        pod["spec"] = {**pod["spec"], "hostname": f"{job.metadata.name}-{index}"}
        for kind in ("initContainers", "containers"):
            if pod["spec"].get(kind):
                pod["spec"][kind] = [_told(container) for container in pod["spec"][kind]]
        return pod

    async def _release(self, pods: Iterable[Pod]) -> None:
        """Take the finalizer off. Raises the first ApiError when all were tried."""
        results = await asyncio.gather(*map(self._release_one, pods), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _release_one(self, pod: Pod) -> None:
        if TRACKING not in pod.metadata.finalizers:
            return
        patch = {"metadata": {"uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING]}}
        try:
            await self._pods.client.patch(pod.metadata, patch, kind="strategic")
        except NotFound:
            return

    async def _let_go(self, key: Key, job: Job | None) -> None:
        """Of pods that a Job of this name held which is no more, and of pods that have lost their Job."""
        uid = job.metadata.uid if job is not None else ""
        held = self._pods.informer.by(_TRACKED, key)
        await self._release(pod for pod in held if not self._is_of(job, uid, pod))

    def _is_of(self, job: Job | None, uid: str, pod: Pod) -> bool:
        if job is None:
            return False
        owner = pod.metadata.controller
        # One without an owner may be about to be adopted.
        return owner.uid == uid if owner is not None else _selector(job).matches(pod.metadata.labels)


def _tracked(pod: Pod) -> Iterable[str]:
    meta = pod.metadata
    if TRACKING not in meta.finalizers:
        return ()
    owner = meta.controller
    if owner is None:
        return (f"{meta.namespace}/{meta.labels.get(_NAME_LABEL, '')}",)
    return (f"{meta.namespace}/{owner.name}",) if owner.kind == _KIND else ()


def _told(container: Json) -> Json:
    """A container that can read which index it is of."""
    held = container.get("env") or []
    if any(variable["name"] == _ENVIRONMENT for variable in held):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    return {**container, "env": [*held, {"name": _ENVIRONMENT, "valueFrom": source}]}


def _selector(job: Job) -> LabelSelector:
    return selector_of(job.spec.selector) if job.spec.selector is not None else NOTHING
