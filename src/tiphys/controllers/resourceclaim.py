"""The ResourceClaim controller: claims are made of templates for pods, and freed when nobody uses them any more.

Keys are "pod:NAMESPACE/NAME" and "claim:NAMESPACE/NAME". A reservation is taken away only once it is certain that its
pod is gone, for which the API server is asked if the pod was never seen here.
Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tiphys.api.errors import ApiError, NotFound
from tiphys.api.meta import Key, ObjectMeta
from tiphys.api.resource import Json
from tiphys.base.metrics import Counter
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context, Terminal
from tiphys.controllers.resourceclaim_plan import (
    ClaimPlan,
    claim_from,
    done,
    names_of,
    plan_claim,
    plan_pod,
)
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.core.podspec import PodResourceClaim
from tiphys.kinds.resource.resourceclaim import FINALIZER, RESOURCE_CLAIMS, ResourceClaim
from tiphys.kinds.resource.resourceclaimtemplate import RESOURCE_CLAIM_TEMPLATES, ResourceClaimTemplate

_POD, _CLAIM = "pod:", "claim:"
_USERS, _TEMPLATES, _OWNERS = "users of resource claims", "users of claim templates", "owners of resource claims"
_CREATED = Counter("resourceclaim_controller_creates_total", "Claims made of templates, by outcome.", ("status",))


def _claims_of(pod: Pod) -> Iterator[str]:
    for name in names_of(pod):
        yield f"{pod.metadata.namespace}/{name}"


def _templates_of(pod: Pod) -> Iterator[str]:
    for use in pod.spec.resource_claims:
        if use.resource_claim_template_name:
            yield f"{pod.metadata.namespace}/{use.resource_claim_template_name}"


def _owner_of(claim: ResourceClaim) -> Iterator[str]:
    owner = claim.metadata.controller
    if owner is not None and owner.kind == "Pod":
        yield owner.uid


class ResourceClaimController:
    name = "resource-claim-controller"
    workers = 10

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pods, self._claims = context.informers.of(PODS), context.informers.of(RESOURCE_CLAIMS)
        self._templates = context.informers.of(RESOURCE_CLAIM_TEMPLATES)
        self._pods.add_index(_USERS, _claims_of)
        self._pods.add_index(_TEMPLATES, _templates_of)
        self._claims.add_index(_OWNERS, _owner_of)
        self._pod_client, self._claim_client = context.client.of(PODS), context.client.of(RESOURCE_CLAIMS)
        self._pods.add_handler(self._pod_changed)
        self._claims.add_handler(self._claim_changed)
        self._templates.add_handler(self._template_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        pod = new or old
        if pod is None or not pod.resource_claims:
            return
        if new is None or done(new):
            for key in _claims_of(pod):
                self._context.queue.add(_CLAIM + key)
        elif old is None or _matters(old, new):
            self._context.queue.add(_POD + pod.metadata.key)

    def _claim_changed(self, old: ResourceClaim | None, new: ResourceClaim | None) -> None:
        claim = new or old
        if claim is None:
            return
        if new is not None:
            self._context.queue.add(_CLAIM + new.metadata.key)
        users = {user.uid for user in claim.status.reserved_for}
        for pod in self._pods.by(_USERS, claim.metadata.key):
            if new is None or (pod.spec.node_name and pod.metadata.uid not in users):
                self._context.queue.add(_POD + pod.metadata.key)

    def _template_changed(self, old: ResourceClaimTemplate | None, new: ResourceClaimTemplate | None) -> None:
        if new is not None:
            for pod in self._pods.by(_TEMPLATES, new.metadata.key):
                self._context.queue.add(_POD + pod.metadata.key)

    async def reconcile(self, key: Key) -> After | None:
        if key.startswith(_POD):
            await self._sync_pod(key.removeprefix(_POD))
        else:
            await self._sync_claim(key.removeprefix(_CLAIM))
        return None

    async def _sync_pod(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None:
            return
        space = pod.metadata.namespace
        owned = self._claims.by(_OWNERS, pod.metadata.uid)
        planned = plan_pod(pod, lambda name: self._claims.get(f"{space}/{name}"), owned)
        names = dict(planned.found)
        try:
            for use in planned.create:
                names[use.name] = await self._create(pod, use)
        finally:
            if names:
                await self._note(pod.metadata, names)
        for claim in planned.reserve:
            user = {"resource": "pods", "name": pod.metadata.name, "uid": pod.metadata.uid}
            patch = {"metadata": {"uid": claim.metadata.uid}, "status": {"reservedFor": [user]}}
            await self._claim_client.patch(claim.metadata, patch, kind="strategic", subresource="status")

    async def _create(self, pod: Pod, use: PodResourceClaim) -> str:
        """Make a claim; its name. Raises ApiError, and Terminal if there is no template, of which an event tells."""
        name = use.resource_claim_template_name
        template = self._templates.get(f"{pod.metadata.namespace}/{name}")
        if template is None:
            why = f'resource claim template "{name}": resourceclaimtemplate.resource.k8s.io "{name}" not found'
            self._complain(pod, use, why)
            raise Terminal(f"pod {pod.metadata.key}: {why}")
        try:
            made: ResourceClaim = await self._claim_client.create(claim_from(template, pod.metadata, use.name))
        except ApiError as error:
            _CREATED.inc("failure")
            self._complain(pod, use, f"create ResourceClaim : {error.message}")
            raise
        _CREATED.inc("success")
        return made.metadata.name

    def _complain(self, pod: Pod, use: PodResourceClaim, why: str) -> None:
        about, text = reference("v1", "Pod", pod.metadata), f"PodResourceClaim {use.name}: {why}"
        self._context.recorder.record(about, "FailedResourceClaimCreation", text, warning=True)

    async def _note(self, pod: ObjectMeta, names: dict[str, str]) -> None:
        """Write into the pod's status which claims it has."""
        statuses = [{"name": use, "resourceClaimName": name} for use, name in names.items()]
        patch = {"metadata": {"uid": pod.uid}, "status": {"resourceClaimStatuses": statuses}}
        try:
            await self._pod_client.patch(pod, patch, kind="strategic", subresource="status")
        except NotFound:
            # The claims go with their owner.
            return

    async def _sync_claim(self, key: str) -> None:
        claim = self._claims.get(key)
        if claim is None:
            return
        gone = {await self._gone(claim, number) for number in range(len(claim.status.reserved_for))}
        owner = claim.metadata.controller
        pod = self._pods.get(f"{claim.metadata.namespace}/{owner.name}") if owner and owner.kind == "Pod" else None
        unneeded = pod is not None and owner is not None and (pod.metadata.uid != owner.uid or done(pod))
        try:
            await self._carry_out(claim, plan_claim(claim, gone - {""}, unneeded=unneeded))
        except NotFound:
            return

    async def _gone(self, claim: ResourceClaim, number: int) -> str:
        """The UID of a pod that the claim is reserved for and that will not use it any more, "" if it may."""
        user = claim.status.reserved_for[number]
        if user.api_group or user.resource != "pods":
            raise Terminal(f"resource claim {claim.metadata.key}: unsupported ReservedFor entry: {user}")
        pod = self._pods.get(f"{claim.metadata.namespace}/{user.name}")
        if pod is None:
            try:
                pod = await self._pod_client.get(user.name, claim.metadata.namespace)
            except NotFound:
                return user.uid
            return user.uid if pod.metadata.uid != user.uid else ""
        return user.uid if pod.metadata.uid != user.uid or done(pod) else ""

    async def _carry_out(self, claim: ResourceClaim, planned: ClaimPlan) -> None:
        meta, status = claim.metadata, dict[str, object]()
        if planned.reserved_for is not None:
            status["reservedFor"] = msgspec.to_builtins(planned.reserved_for) or None
        if planned.deallocate:
            status |= {"allocation": None, "devices": None}
        if status:
            # Fails if anything changed meanwhile: somebody may have begun to use it.
            patch: Json = {"metadata": _as_seen(meta), "status": status}
            meta = (await self._claim_client.patch(meta, patch, subresource="status")).metadata
        if planned.release:
            kept = [name for name in meta.finalizers if name != FINALIZER]
            meta = (await self._claim_client.patch(meta, {"metadata": {**_as_seen(meta), "finalizers": kept}})).metadata
        if planned.delete:
            await self._claim_client.delete(meta)


def _as_seen(meta: ObjectMeta) -> Json:
    return {"uid": meta.uid, "resourceVersion": meta.resource_version}


def _matters(old: Pod, new: Pod) -> bool:
    moved = old.spec.node_name != new.spec.node_name or old.metadata.uid != new.metadata.uid
    return moved or old.status.resource_claim_statuses != new.status.resource_claim_statuses
