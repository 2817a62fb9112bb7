"""What a Deployment's controller does next: one pure function over what the informers show.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tiphys.api.resource import Json
from tiphys.controllers import deployment_rollout as rollout
from tiphys.controllers import deployment_status as status
from tiphys.controllers.conditions import condition
from tiphys.controllers.deployment_revision import REVISION, new_annotations, next_revision, size_annotations
from tiphys.kinds.apps.deployment import Deployment
from tiphys.kinds.apps.replicaset import ReplicaSet


@dataclass(slots=True)
class Plan:
    """`create`: the size of the ReplicaSet that the template still lacks. `patches`: by name, of ReplicaSets."""

    create: int | None = None
    patches: dict[str, Json] = field(default_factory=dict)
    sizes: rollout.Sizes = field(default_factory=dict)
    delete: Sequence[ReplicaSet] = ()
    revision: str = ""
    status: Json = field(default_factory=dict)
    again: float | None = None


def plan(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], now: float) -> Plan:
    """`new` is the ReplicaSet of the present template, `old` are all others that the Deployment owns."""
    sets = [*old, new] if new is not None else list(old)
    numbers = status.counts(deployment, new, sets)
    conditions = status.base_conditions(deployment, new, sets, now)
    planned = Plan()
    going = deployment.metadata.deletion_timestamp is not None
    resize = rollout.is_scaling(deployment, sets)
    if not going:
        _size(planned, deployment, new, old, resize=resize)
        _annotate(planned, deployment, new, old)
    if not going and not deployment.spec.paused and not resize:
        if new is not None and condition(conditions, "Progressing") is None:
            text = f'Found new replica set "{new.metadata.name}"'
            conditions = status.put(conditions, status.made("Progressing", "True", "FoundNewReplicaSet", text, now))
        if planned.create is None and status.complete(deployment, numbers):
            planned.delete = rollout.to_clean_up(deployment, old)
        name = new.metadata.name if new is not None else deployment.metadata.name
        conditions = status.progress(deployment, numbers, conditions, name, now)
        planned.again = status.seconds_left(deployment, condition(conditions, "Progressing"), now)
    planned.status = status.patch(deployment, numbers, conditions)
    return planned


def _size(
    planned: Plan, deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], *, resize: bool
) -> None:
    if deployment.spec.paused or resize:
        planned.sizes = rollout.scale(deployment, new, old)
    elif deployment.spec.strategy.type == "Recreate":
        planned.sizes, wait = rollout.recreate(deployment, new, old)
        if new is None and not wait:
            planned.create = deployment.spec.replicas
    elif new is None:
        planned.create = rollout.new_size(deployment, None, old)
    else:
        planned.sizes = rollout.rolling(deployment, new, old)


def _annotate(planned: Plan, deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> None:
    by_name = {each.metadata.name: each for each in old}
    if new is not None:
        by_name[new.metadata.name] = new
        wanted = new_annotations(deployment, new.metadata.annotations, next_revision(old))
        if wanted:
            planned.patches[new.metadata.name] = {"metadata": {"annotations": wanted}}
        if new.spec.min_ready_seconds != deployment.spec.min_ready_seconds:
            patch = planned.patches.setdefault(new.metadata.name, {})
            patch["spec"] = {"minReadySeconds": deployment.spec.min_ready_seconds}
        planned.revision = wanted.get(REVISION) or new.metadata.annotations.get(REVISION, "")
    sizes = size_annotations(deployment.spec.replicas, rollout.surge(deployment))
    for name, size in planned.sizes.items():
        each = by_name[name]
        stale = {key: value for key, value in sizes.items() if each.metadata.annotations.get(key) != value}
        if size == each.spec.replicas and not stale:
            continue
        patch = planned.patches.setdefault(name, {})
        patch.setdefault("metadata", {}).setdefault("annotations", {}).update(stale)
        patch.setdefault("spec", {})["replicas"] = size
    if planned.revision == deployment.metadata.annotations.get(REVISION, ""):
        planned.revision = ""
