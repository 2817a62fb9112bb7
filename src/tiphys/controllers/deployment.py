"""The Deployment controller: ReplicaSets, one for each template, sized step by step towards the newest.

`deployment_plan.plan` decides everything from what the informers show; `reconcile` finds the ReplicaSet of the present
template and carries the plan out. Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tiphys.api.errors import AlreadyExists, ApiError, NotFound
from tiphys.api.meta import Key, ObjectMeta, owner_reference
from tiphys.api.resource import Json
from tiphys.client.events import reference
from tiphys.controllers import deployment_rollout as rollout
from tiphys.controllers import deployment_status as status
from tiphys.controllers.base import After, Context
from tiphys.controllers.deployment_plan import Plan, plan
from tiphys.controllers.deployment_revision import (
    HASH_LABEL,
    REVISION,
    new_annotations,
    new_replica_set,
    next_revision,
    same_template,
    size_annotations,
    template_hash,
)
from tiphys.controllers.ownership import (
    CONTROLLER,
    NAMESPACE,
    ORPHANS,
    add_indexes,
    by_namespace,
    carry_out,
    claim,
    selector_of,
)
from tiphys.kinds.apps.deployment import DEPLOYMENTS, Deployment
from tiphys.kinds.apps.replicaset import REPLICA_SETS, ReplicaSet

_KIND = "Deployment"


@dataclass(frozen=True, slots=True)
class _Template:
    """What was found out about a Deployment's template, so that it need not be read again."""

    uid: str
    generation: int
    collisions: int
    hash: str
    # The uid of a ReplicaSet with this template but another hash: made by somebody else, or restored.
    found: str = ""


class DeploymentController:
    name = "deployment-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._deployments = context.watch(DEPLOYMENTS)
        self._deployments.add_index(NAMESPACE, by_namespace)
        self._sets = context.watch(REPLICA_SETS, self._keys_of)
        add_indexes(self._sets)
        self._client, self._set_client = context.client.of(DEPLOYMENTS), context.client.of(REPLICA_SETS)
        self._templates: dict[Key, _Template] = {}

    async def reconcile(self, key: Key) -> After | None:
        deployment = self._deployments.get(key)
        if deployment is None:
            self._templates.pop(key, None)
            return None
        meta = deployment.metadata
        claimed = claim(
            meta, selector_of(deployment.spec.selector),
            self._sets.by(CONTROLLER, meta.uid), self._sets.by(ORPHANS, meta.namespace),
        )  # fmt: skip
        await carry_out(claimed, meta, self._client, self._set_client)
        template = await self._template(deployment, claimed.owned)
        if template is None:
            return None
        new = _newest(template, claimed.owned)
        old = [each for each in claimed.owned if each is not new]
        planned = plan(deployment, new, old, self._context.clock.time())
        await self._apply(planned, deployment, template, claimed.owned)
        return After(planned.again + 1) if planned.again is not None else None

    async def _template(self, deployment: Deployment, owned: Sequence[ReplicaSet]) -> _Template | None:
        """None where the informer is behind; its next event brings us back."""
        meta, collisions = deployment.metadata, deployment.status.collision_count or 0
        known = self._templates.get(meta.key)
        wanted = (meta.uid, meta.generation, collisions)
        if known is not None and (known.uid, known.generation, known.collisions) == wanted:
            return known
        try:
            whole = await self._client.get_json(meta.name, meta.namespace)
        except NotFound:
            return None
        if (whole["metadata"]["uid"], whole["metadata"].get("generation", 0)) != (meta.uid, meta.generation):
            return None
        template = whole["spec"]["template"]
        found, hash_ = "", template_hash(template, collisions)
        if not any(each.metadata.labels.get(HASH_LABEL) == hash_ for each in owned):
            found = await self._same(template, owned)
        known = self._templates[meta.key] = _Template(meta.uid, meta.generation, collisions, hash_, found)
        return known

    async def _same(self, template: Json, owned: Sequence[ReplicaSet]) -> str:
        for each in rollout.oldest_first(owned):
            try:
                whole = await self._set_client.get_json(each.metadata.name, each.metadata.namespace)
            except NotFound:
                continue
            if same_template(template, whole["spec"]["template"]):
                return each.metadata.uid
        return ""

    async def _apply(
        self, planned: Plan, deployment: Deployment, template: _Template, owned: Sequence[ReplicaSet]
    ) -> None:
        meta = deployment.metadata
        if planned.create is not None:
            await self._create(deployment, template, planned, next_revision(owned))
        for each in owned:
            patch = planned.patches.get(each.metadata.name)
            if patch:
                await self._patch(deployment, each, patch)
        for each in planned.delete:
            await self._delete(each.metadata)
        try:
            if planned.revision:
                patch = {"metadata": {"uid": meta.uid, "annotations": {REVISION: planned.revision}}}
                await self._client.patch(meta, patch)
            if planned.status:
                patch = {"metadata": {"uid": meta.uid}, "status": planned.status}
                await self._client.patch(meta, patch, subresource="status")
        except NotFound:
            return

    async def _create(self, deployment: Deployment, template: _Template, planned: Plan, revision: int) -> None:
        """Make the new ReplicaSet; `planned.status` is added what there is to say of it."""
        meta = deployment.metadata
        whole = await self._client.get_json(meta.name, meta.namespace)
        if whole["metadata"].get("generation", 0) != template.generation:
            return
        annotations = new_annotations(deployment, {}, revision)
        annotations |= size_annotations(deployment.spec.replicas, rollout.surge(deployment))
        size = planned.create or 0
        wanted = new_replica_set(whole, template.hash, size, annotations)
        wanted["metadata"]["ownerReferences"] = [owner_reference(DEPLOYMENTS.api_version, _KIND, meta)]
        name, now = wanted["metadata"]["name"], self._context.clock.time()
        try:
            await self._set_client.create(wanted)
        except AlreadyExists:
            await self._collide(deployment, wanted)
            return
        except ApiError as error:
            made = status.made("Progressing", "False", "ReplicaSetCreateError", error.message, now)
            await self._note(deployment, made)
            text = f'Failed to create new replica set "{name}": {error.message}'
            self._record(meta, "ReplicaSetCreateError", text, warning=True)
            raise
        if size:
            self._record(meta, "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}")
        planned.revision = str(revision)
        if status.has_deadline(deployment):
            text = f'Created new replica set "{name}"'
            made = status.made("Progressing", "True", "NewReplicaSetCreated", text, now)
            await self._note(deployment, made)
            planned.status.pop("conditions", None)

    async def _note(self, deployment: Deployment, made: Json) -> None:
        whole = await self._client.get_json(deployment.metadata.name, deployment.metadata.namespace)
        held = (whole.get("status") or {}).get("conditions") or []
        conditions = status.put(held, made)
        if conditions != held:
            await self._client.patch(deployment.metadata, {"status": {"conditions": conditions}}, subresource="status")

    async def _collide(self, deployment: Deployment, wanted: Json) -> None:
        """The name is taken: by our own ReplicaSet of this template, or by another, and then the hash must differ."""
        meta = wanted["metadata"]
        held = await self._set_client.get_json(meta["name"], meta["namespace"])
        owners = [o["uid"] for o in held["metadata"].get("ownerReferences") or () if o.get("controller")]
        if owners == [deployment.metadata.uid] and same_template(held["spec"]["template"], wanted["spec"]["template"]):
            return
        count = (deployment.status.collision_count or 0) + 1
        await self._client.patch(deployment.metadata, {"status": {"collisionCount": count}}, subresource="status")

    async def _patch(self, deployment: Deployment, each: ReplicaSet, patch: Json) -> None:
        patch.setdefault("metadata", {})["uid"] = each.metadata.uid
        await self._set_client.patch(each.metadata, patch)
        before, size = each.spec.replicas, patch.get("spec", {}).get("replicas", each.spec.replicas)
        if size != before:
            way = "up" if size > before else "down"
            text = f"Scaled {way} replica set {each.metadata.name} from {before} to {size}"
            self._record(deployment.metadata, "ScalingReplicaSet", text)

    async def _delete(self, meta: ObjectMeta) -> None:
        try:
            await self._set_client.delete(meta)
        except NotFound:
            return

    def _record(self, meta: ObjectMeta, reason: str, text: str, *, warning: bool = False) -> None:
        about = reference(DEPLOYMENTS.api_version, _KIND, meta)
        self._context.recorder.record(about, reason, text, warning=warning)

    def _keys_of(self, each: ReplicaSet) -> Iterable[str]:
        meta, owner = each.metadata, each.metadata.controller
        if owner is not None:
            if owner.kind == _KIND and owner.api_version == DEPLOYMENTS.api_version:
                yield f"{meta.namespace}/{owner.name}"
        elif meta.deletion_timestamp is None:
            for candidate in self._deployments.by(NAMESPACE, meta.namespace):
                if selector_of(candidate.spec.selector).matches(meta.labels):
                    yield candidate.metadata.key


def _newest(template: _Template, owned: Sequence[ReplicaSet]) -> ReplicaSet | None:
    for each in rollout.oldest_first(owned):
        if each.metadata.labels.get(HASH_LABEL) == template.hash or each.metadata.uid == template.found:
            return each
    return None
