"""The StatefulSet controller: pods with names, an order, and claims of their own.

`statefulset_plan.plan` decides everything from what the informers show; `reconcile` finds the two revisions and carries
the plan out. Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tiphys.api.errors import AlreadyExists, ApiError, NotFound
from tiphys.api.meta import Key, ObjectMeta
from tiphys.api.resource import Json
from tiphys.api.selectors import LabelSelector
from tiphys.controllers.base import After, Context
from tiphys.controllers.controller_revisions import HASH, Revisions, template_of
from tiphys.controllers.owned_pods import OwnedPods, ending
from tiphys.controllers.ownership import NAMESPACE, selector_of
from tiphys.controllers.statefulset_identity import (
    INDEX_LABEL,
    NAME_LABEL,
    claim_name,
    claims_of,
    identity,
    pod_of,
    references,
)
from tiphys.controllers.statefulset_plan import Plan, ordinal_of, plan
from tiphys.kinds.apps.controllerrevision import ControllerRevision
from tiphys.kinds.apps.statefulset import STATEFUL_SETS, StatefulSet
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from tiphys.kinds.core.pod import Pod

_HASH_LABEL = "controller.kubernetes.io/hash"


class StatefulSetController:
    name = "statefulset-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sets = context.watch(STATEFUL_SETS)
        self._pods = OwnedPods(context, STATEFUL_SETS, self._sets, _selector, member=_member)
        self._revisions = Revisions(context, STATEFUL_SETS, _selector, _HASH_LABEL)
        self._claims = context.watch(PERSISTENT_VOLUME_CLAIMS, self._keys_of)
        self._client, self._claim_client = context.client.of(STATEFUL_SETS), context.client.of(PERSISTENT_VOLUME_CLAIMS)

    async def reconcile(self, key: Key) -> After | None:
        owner = self._sets.get(key)
        if owner is None:
            self._revisions.forget(key)
            return None
        pods, held = await self._pods.of(owner), await self._revisions.of(owner)
        update = await self._revisions.newest(owner, held)
        if update is None:
            return None
        revisions = {each.metadata.name: each for each in (*held, update)}
        current = revisions.get(owner.status.current_revision, update)
        names = (current.metadata.name, update.metadata.name)
        planned = plan(owner, *names, pods, self._context.clock.time())
        await self._carry_out(owner, revisions, pods, planned)
        live = [*names, *(pod.metadata.labels.get(HASH, "") for pod in pods)]
        await self._revisions.truncate(held, live, owner.spec.revision_history_limit)
        return After(planned.again) if planned.again is not None else None

    async def _carry_out(
        self, owner: StatefulSet, revisions: Mapping[str, ControllerRevision], pods: Sequence[Pod], planned: Plan
    ) -> None:
        """The status is written also where a pod was refused."""
        failure: ApiError | None = None
        try:
            await self._act(owner, revisions, pods, planned)
        except ApiError as error:
            failure = error
        if planned.status:
            await self._write_status(owner.metadata, planned.status)
        if failure is not None:
            raise failure

    async def _act(
        self, owner: StatefulSet, revisions: Mapping[str, ControllerRevision], pods: Sequence[Pod], planned: Plan
    ) -> None:
        meta = owner.metadata
        if meta.deletion_timestamp is None:
            await self._keep(owner, pods, planned.condemned)
        for pod in planned.ended:
            text = f"StatefulSet {meta.key} is recreating {pod.status.phase} Pod {pod.metadata.name}"
            self._pods.record(meta, f"Recreating{pod.status.phase}Pod", text, warning=True)
        await self._pods.delete(meta, [*planned.delete, *planned.ended])
        await self._create(owner, [(each, revisions[name]) for each, name in planned.create])

    async def _write_status(self, meta: ObjectMeta, status: Json) -> None:
        try:
            await self._client.patch(meta, {"metadata": {"uid": meta.uid}, "status": status}, subresource="status")
        except NotFound:
            return

    async def _create(self, owner: StatefulSet, wanted: Sequence[tuple[int, ControllerRevision]]) -> None:
        if not wanted:
            return
        meta = owner.metadata
        whole: Json = {}
        if owner.spec.volume_claim_templates:
            # The model holds the fields that somebody reads; claims get all that their templates say.
            whole = await self._client.get_json(meta.name, meta.namespace)
            if whole["metadata"]["uid"] != meta.uid:
                return
        left, size = list(wanted), 1
        # In growing batches, so that a server which refuses everything is asked once.
        while left:
            batch, left = left[:size], left[size:]
            made = (self._create_one(owner, whole, *each) for each in batch)
            results = await asyncio.gather(*made, return_exceptions=True)
            for result in results:
                if isinstance(result, ApiError) and ending(result):
                    return
                if isinstance(result, BaseException):
                    raise result
            size *= 2

    async def _create_one(self, owner: StatefulSet, whole: Json, ordinal: int, revision: ControllerRevision) -> None:
        meta = owner.metadata
        claims = list(claims_of(whole, ordinal)) if whole else []
        if any(self._going(owner, claim["metadata"]["name"]) for claim in claims):
            # A pod would hold up the end of its claim, and never get it. The end of the claim brings us back.
            return
        for claim in claims:
            await self._claim(owner, claim)
        pod = pod_of(owner, template_of(revision), ordinal, revision.metadata.name)
        pod["metadata"]["ownerReferences"] = [self._pods.owner_reference(meta)]
        await self._pods.create(meta, pod)

    def _going(self, owner: StatefulSet, name: str) -> bool:
        """Whether the claim is being deleted, or will be for the sake of a pod that went for good."""
        claim = self._claims.get(f"{owner.metadata.namespace}/{name}")
        if claim is None:
            return False
        with_pod = any(
            held.kind == "Pod" and ordinal_of(owner.metadata.name, held.name) is not None
            for held in claim.metadata.owner_references
        )
        return with_pod or claim.metadata.deletion_timestamp is not None

    async def _claim(self, owner: StatefulSet, claim: Json) -> None:
        """Make a claim unless it is there already: from before, or somebody else's to be used."""
        meta = claim["metadata"]
        if self._claims.get(f"{meta['namespace']}/{meta['name']}") is not None:
            return
        owners = references(owner, None, [])
        if owners:
            meta["ownerReferences"] = owners
        about = owner.metadata
        try:
            await self._claim_client.create(claim)
        except AlreadyExists:
            return
        except ApiError as error:
            text = f"Error creating claim {meta['name']}: {error.message}"
            self._pods.record(about, "FailedCreate", text, warning=True)
            raise
        self._pods.record(about, "SuccessfulCreate", f"Created claim: {meta['name']}")

    async def _keep(self, owner: StatefulSet, pods: Iterable[Pod], condemned: frozenset[str]) -> None:
        """Mend what makes a pod its ordinal's: its labels, and whose its claims are."""
        for pod in pods:
            ordinal = ordinal_of(owner.metadata.name, pod.metadata.name)
            if ordinal is None:
                continue
            wanted = identity(owner.metadata.name, ordinal)
            if any(pod.metadata.labels.get(name) != wanted[name] for name in (NAME_LABEL, INDEX_LABEL)):
                await self._patch(self._pods.client, pod.metadata, {"labels": wanted})
            going = pod if pod.metadata.name in condemned else None
            for template in owner.spec.volume_claim_templates:
                name = claim_name(template.metadata.name, owner.metadata.name, ordinal)
                claim = self._claims.get(f"{owner.metadata.namespace}/{name}")
                if claim is None and pod.status.phase == "Pending" and not pod.deleted:
                    await self._make_claims(owner, ordinal)
                if claim is None or claim.metadata.deletion_timestamp is not None:
                    continue
                changes = references(owner, going, claim.metadata.owner_references)
                if changes:
                    await self._patch(self._claim_client, claim.metadata, {"ownerReferences": changes})

    async def _make_claims(self, owner: StatefulSet, ordinal: int) -> None:
        """Those that a pod waits for in vain, because somebody deleted them."""
        try:
            whole = await self._client.get_json(owner.metadata.name, owner.metadata.namespace)
        except NotFound:
            return
        if whole["metadata"]["uid"] == owner.metadata.uid:
            for claim in claims_of(whole, ordinal):
                await self._claim(owner, claim)

    async def _patch(self, client: Any, meta: ObjectMeta, change: Json) -> None:
        try:
            await client.patch(meta, {"metadata": {"uid": meta.uid, **change}}, kind="strategic")
        except NotFound:
            return

    def _keys_of(self, claim: PersistentVolumeClaim) -> Iterable[str]:
        for owner in self._sets.by(NAMESPACE, claim.metadata.namespace):
            if owner.spec.volume_claim_templates and _selector(owner).matches(claim.metadata.labels):
                yield owner.metadata.key


def _selector(owner: StatefulSet) -> LabelSelector:
    return selector_of(owner.spec.selector)


def _member(owner: StatefulSet, pod: Pod) -> bool:
    return ordinal_of(owner.metadata.name, pod.metadata.name) is not None
