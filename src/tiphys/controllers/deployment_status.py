"""The status of a Deployment: counts and the conditions Available, Progressing and ReplicaFailure. Pure.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tiphys.api.resource import Json
from tiphys.api.time import rfc3339, seconds
from tiphys.controllers.conditions import condition, with_condition, without_condition
from tiphys.controllers.deployment_rollout import total, unavailable
from tiphys.kinds.apps.deployment import Deployment
from tiphys.kinds.apps.replicaset import ReplicaSet

TIMED_OUT, COMPLETE = "ProgressDeadlineExceeded", "NewReplicaSetAvailable"
_NO_DEADLINE = 2**31 - 1


def counts(deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet]) -> Json:
    """The numbers of the new status; None where the field is absent."""
    available = sum(each.status.available_replicas for each in sets)
    terminating = [each.status.terminating_replicas for each in sets]
    known = [count for count in terminating if count is not None]
    return {
        "observedGeneration": deployment.metadata.generation or None,
        "replicas": sum(each.status.replicas for each in sets) or None,
        "updatedReplicas": (new.status.replicas if new is not None else 0) or None,
        "readyReplicas": sum(each.status.ready_replicas for each in sets) or None,
        "availableReplicas": available or None,
        "unavailableReplicas": max(total(sets) - available, 0) or None,
        "terminatingReplicas": sum(known) if len(known) == len(terminating) else None,
    }  # fmt: skip


def complete(deployment: Deployment, numbers: Json) -> bool:
    wanted = deployment.spec.replicas
    names = ("updatedReplicas", "replicas", "availableReplicas")
    return all((numbers[name] or 0) == wanted for name in names)


def made(type_: str, status: str, reason: str, message: str, now: float) -> Json:
    stamp = rfc3339(now)
    return {
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": stamp, "lastTransitionTime": stamp,
    }  # fmt: skip


def put(conditions: list[Json], new: Json) -> list[Json]:
    """Set a condition, unless status and reason stand already."""
    held = condition(conditions, new["type"])
    if held is not None and (held["status"], held.get("reason")) == (new["status"], new["reason"]):
        return conditions
    return with_condition(conditions, new)


def base_conditions(
    deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet], now: float
) -> list[Json]:
    """Available, ReplicaFailure and whether the rollout is paused; without its progress."""
    found: list[Json] = msgspec.to_builtins(deployment.status.conditions)
    least = deployment.spec.replicas - unavailable(deployment)
    if sum(each.status.available_replicas for each in sets) >= least:
        text = "Deployment has minimum availability."
        found = put(found, made("Available", "True", "MinimumReplicasAvailable", text, now))
    else:
        text = "Deployment does not have minimum availability."
        found = put(found, made("Available", "False", "MinimumReplicasUnavailable", text, now))
    failure = _failure(new, sets)
    if failure is not None:
        found = put(found, made("ReplicaFailure", *failure, now))
    else:
        found = without_condition(found, "ReplicaFailure")
    return _paused(deployment, found, now)


def _failure(new: ReplicaSet | None, sets: Sequence[ReplicaSet]) -> tuple[str, str, str] | None:
    ordered: Iterable[ReplicaSet] = ([new] if new is not None else []) + [each for each in sets if each is not new]
    for each in ordered:
        for held in each.status.conditions:
            if held.type == "ReplicaFailure":
                return held.status, held.reason, held.message
    return None


def _paused(deployment: Deployment, conditions: list[Json], now: float) -> list[Json]:
    held = condition(conditions, "Progressing")
    reason = held.get("reason") if held is not None else ""
    if not has_deadline(deployment) or reason == TIMED_OUT:
        return conditions
    if deployment.spec.paused and reason != "DeploymentPaused":
        return put(conditions, made("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now))
    if not deployment.spec.paused and reason == "DeploymentPaused":
        return put(conditions, made("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now))
    return conditions


def has_deadline(deployment: Deployment) -> bool:
    return deployment.spec.progress_deadline_seconds != _NO_DEADLINE


def progress(
    deployment: Deployment, numbers: Json, conditions: list[Json], name: str, now: float
) -> list[Json]:
    """The conditions with what there is to say of a rollout to the ReplicaSet `name`."""
    if not has_deadline(deployment):
        return without_condition(conditions, "Progressing")
    held = condition(conditions, "Progressing")
    done = numbers["replicas"] == numbers["updatedReplicas"] and held is not None and held.get("reason") == COMPLETE
    if done:
        return conditions
    if complete(deployment, numbers):
        text = f'ReplicaSet "{name}" has successfully progressed.'
        return put(conditions, made("Progressing", "True", COMPLETE, text, now))
    if _progressed(deployment, numbers):
        new = made("Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.', now)
        return with_condition(conditions, new)
    if timed_out(deployment, held, now):
        text = f'ReplicaSet "{name}" has timed out progressing.'
        return put(conditions, made("Progressing", "False", TIMED_OUT, text, now))
    return conditions


def _progressed(deployment: Deployment, numbers: Json) -> bool:
    old = deployment.status
    updated, replicas = numbers["updatedReplicas"] or 0, numbers["replicas"] or 0
    return (
        updated > old.updated_replicas
        or replicas - updated < old.replicas - old.updated_replicas
        or (numbers["readyReplicas"] or 0) > old.ready_replicas
        or (numbers["availableReplicas"] or 0) > old.available_replicas
    )


def timed_out(deployment: Deployment, held: Json | None, now: float) -> bool:
    left = seconds_left(deployment, held, now)
    return left is not None and left <= 0


def seconds_left(deployment: Deployment, held: Json | None, now: float) -> float | None:
    """Until the rollout's deadline; None where none runs."""
    if held is None or not has_deadline(deployment) or held.get("reason") in (COMPLETE, TIMED_OUT, "DeploymentPaused"):
        return None
    since = held.get("lastUpdateTime") or held.get("lastTransitionTime")
    return seconds(since) + deployment.spec.progress_deadline_seconds - now if since else None


def patch(deployment: Deployment, numbers: Json, conditions: list[Json]) -> Json:
    """What of the status changes, as a merge patch; empty if nothing does."""
    old = msgspec.to_builtins(deployment.status)
    changed = {name: value for name, value in numbers.items() if old.get(name, 0) != (value or 0)}
    if numbers["terminatingReplicas"] == 0 and deployment.status.terminating_replicas is None:
        changed["terminatingReplicas"] = 0
    if conditions != (old.get("conditions") or []):
        changed["conditions"] = conditions
    return changed
