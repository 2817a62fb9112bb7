"""What ReplicaSet and ReplicationController do alike: keep so many pods of a template.

Invariants: pods are counted only when owned; a status is written only when it differs; what a reconcile could not
create stands in the condition ReplicaFailure and is tried again with back-off.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from tiphys.api.errors import ApiError, NotFound
from tiphys.api.meta import Key, ObjectMeta, owner_reference
from tiphys.api.resource import Json, ResourceType
from tiphys.api.selectors import LabelSelector
from tiphys.api.time import rfc3339
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context
from tiphys.controllers.conditions import with_condition, without_condition
from tiphys.controllers.ownership import (
    CONTROLLER,
    NAMESPACE,
    ORPHANS,
    add_indexes,
    by_namespace,
    carry_out,
    claim,
    controllers,
)
from tiphys.controllers.pods import active, available_at, deletion_order, pod_from, slow_start
from tiphys.kinds.apps.replicaset import ReplicaSetStatus
from tiphys.kinds.core.pod import FINISHED, PODS, Pod
from tiphys.kinds.core.podspec import PodTemplateSpec

# No reconcile makes or deletes more than this; the next one goes on.
_BURST = 500


class _Spec(Protocol):
    @property
    def replicas(self) -> int: ...
    @property
    def min_ready_seconds(self) -> int: ...
    @property
    def template(self) -> PodTemplateSpec: ...


class Replicated(Protocol):
    @property
    def metadata(self) -> ObjectMeta: ...
    @property
    def spec(self) -> _Spec: ...
    @property
    def status(self) -> ReplicaSetStatus: ...


R = TypeVar("R", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Plan:
    """`again`: seconds until a ready pod becomes available."""

    create: int = 0
    delete: Sequence[Pod] = ()
    counts: Json = field(default_factory=dict)
    again: float | None = None


def plan(owner: Replicated, pods: Sequence[Pod], related: Callable[[], Mapping[str, int]], now: float) -> Plan:
    """`pods` are those that `owner` owns; `related` counts, by node, the pods of the same workload, if asked."""
    spec, labels = owner.spec, owner.spec.template.metadata.labels.items()
    current: list[Pod] = []
    full = ready = available = terminating = 0
    again = None
    # One pass, and few calls: there may be thousands.
    for pod in pods:
        if pod.status.phase in FINISHED:
            continue
        if pod.metadata.deletion_timestamp is not None:
            terminating += 1
            continue
        current.append(pod)
        full += labels <= pod.metadata.labels.items()
        at = available_at(pod, spec.min_ready_seconds)
        if at is None:
            continue
        ready += 1
        if at <= now:
            available += 1
        else:
            again = min(at - now, again or at - now)
    counts: Json = {
        "replicas": len(current), "fullyLabeledReplicas": full or None, "readyReplicas": ready or None,
        "availableReplicas": available or None, "terminatingReplicas": terminating,
        "observedGeneration": owner.metadata.generation or None,
    }  # fmt: skip
    if owner.metadata.deletion_timestamp is not None:
        return Plan(0, (), counts, again)
    surplus = len(current) - spec.replicas
    doomed = deletion_order(current, related(), now)[: min(surplus, _BURST)] if surplus > 0 else []
    return Plan(min(max(-surplus, 0), _BURST), doomed, counts, again)


def status_patch(owner: Replicated, counts: Json, failure: ApiError | None, *, deleting: bool, now: float) -> Json:
    """What of the status changes, as a merge patch; empty if nothing does."""
    old = msgspec.to_builtins(owner.status)
    patch = {name: value for name, value in counts.items() if old.get(name, 0) != (value or 0)}
    if counts["terminatingReplicas"] == 0 and owner.status.terminating_replicas is None:
        patch["terminatingReplicas"] = 0
    conditions = old.get("conditions") or []
    wanted = without_condition(conditions, "ReplicaFailure")
    if failure is not None:
        made = {
            "type": "ReplicaFailure", "status": "True", "reason": "FailedDelete" if deleting else "FailedCreate",
            "message": failure.message, "lastTransitionTime": rfc3339(now),
        }  # fmt: skip
        # As upstream, the first failure of a kind stands: the next one's text names another pod that was not made, and
        # to write it would be a change of this object, for which it would be tried again at once.
        known = next((each for each in conditions if each["type"] == made["type"]), None)
        same = known is not None and (known["status"], known.get("reason")) == (made["status"], made["reason"])
        wanted = conditions if same else with_condition(conditions, made)
    if wanted != conditions:
        patch["conditions"] = wanted or None
    return patch


class ReplicaController(Generic[R]):
    """Subclasses name the resource and say what an object of it selects."""

    name = ""
    workers = 5
    resource: ResourceType[R]

    def __init__(self, context: Context) -> None:
        self._context = context
        self._owners = context.watch(self.resource)
        self._owners.add_index(NAMESPACE, by_namespace)
        self._owners.add_index(CONTROLLER, controllers)
        self._pods = context.watch(PODS, self._keys_of)
        add_indexes(self._pods)
        self._client, self._pod_client = context.client.of(self.resource), context.client.of(PODS)

    def selector(self, owner: R) -> LabelSelector:
        raise NotImplementedError

    async def reconcile(self, key: Key) -> After | None:
        owner = self._owners.get(key)
        if owner is None:
            return None
        seen: Any = owner
        meta: ObjectMeta = seen.metadata
        claimed = claim(
            meta, self.selector(owner),
            self._pods.by(CONTROLLER, meta.uid), self._pods.by(ORPHANS, meta.namespace),
        )  # fmt: skip
        await carry_out(claimed, meta, self._client, self._pod_client)
        now = self._context.clock.time()
        planned = plan(seen, claimed.owned, lambda: self._related(meta), now)
        failure = await self._create(meta, planned.create) or await self._delete(meta, planned.delete)
        patch = status_patch(seen, planned.counts, failure, deleting=bool(planned.delete), now=now)
        if patch:
            try:
                await self._client.patch(meta, {"metadata": {"uid": meta.uid}, "status": patch}, subresource="status")
            except NotFound:
                return None
        if failure is not None:
            raise failure
        return After(planned.again) if planned.again is not None else None

    async def _create(self, owner: ObjectMeta, count: int) -> ApiError | None:
        if not count:
            return None
        about = reference(self.resource.api_version, self.resource.kind, owner)
        # The model holds the fields that somebody reads; pods get all that the template says.
        try:
            whole = await self._client.get_json(owner.name, owner.namespace)
        except NotFound:
            return None
        if whole["metadata"]["uid"] != owner.uid:
            return None
        template = whole["spec"].get("template") or {}
        pod = pod_from(template, owner, owner_reference(self.resource.api_version, self.resource.kind, owner))

        async def one() -> None:
            made = await self._pod_client.create(pod)
            self._context.recorder.record(about, "SuccessfulCreate", f"Created pod: {made.metadata.name}")

        failure = await slow_start(count, one)
        if failure is not None and any(cause.get("reason") == "NamespaceTerminating" for cause in failure.causes):
            # Nothing is made in a namespace that goes; the object goes with it.
            return None
        if failure is not None:
            self._context.recorder.record(about, "FailedCreate", f"Error creating: {failure.message}", warning=True)
        return failure

    async def _delete(self, owner: ObjectMeta, pods: Sequence[Pod]) -> ApiError | None:
        about = reference(self.resource.api_version, self.resource.kind, owner)

        async def one(pod: Pod) -> None:
            try:
                await self._pod_client.delete(pod.metadata)
            except NotFound:
                return
            self._context.recorder.record(about, "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")

        results = await asyncio.gather(*(one(pod) for pod in pods), return_exceptions=True)
        for result in results:
            if isinstance(result, ApiError):
                text = f"Error deleting: {result.message}"
                self._context.recorder.record(about, "FailedDelete", text, warning=True)
                return result
            if isinstance(result, BaseException):
                raise result
        return None

    def _related(self, owner: ObjectMeta) -> dict[str, int]:
        """Active pods by node, of all owners under the same controller: where replicas crowd, they go first."""
        above = owner.controller
        siblings: Iterable[Any] = self._owners.by(CONTROLLER, above.uid) if above is not None else ()
        uids = {owner.uid, *(sibling.metadata.uid for sibling in siblings)}
        return Counter(pod.spec.node_name for uid in uids for pod in self._pods.by(CONTROLLER, uid) if active(pod))

    def _keys_of(self, pod: Pod) -> Iterable[str]:
        meta = pod.metadata
        owner = meta.controller
        if owner is not None:
            if owner.kind == self.resource.kind and owner.api_version == self.resource.api_version:
                yield f"{meta.namespace}/{owner.name}"
            return
        if meta.deletion_timestamp is None:
            for candidate in self._owners.by(NAMESPACE, meta.namespace):
                if self.selector(candidate).matches(meta.labels):
                    seen: Any = candidate
                    yield seen.metadata.key

