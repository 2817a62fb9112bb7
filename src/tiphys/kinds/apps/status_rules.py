"""Validation of what controllers report of a workload: counts that are no less than 0 and fit together.

Source: upstream's `ValidateDeploymentStatus`, `ValidateReplicaSetStatus`, `ValidateStatefulSetStatus` and others.
"""

from __future__ import annotations

from tiphys.api.errors import invalid
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, non_negative


def check_counts(status: Json, *fields: str, within: tuple[str, ...] = (), ready: str = "readyReplicas") -> Errors:
    """`fields` are not negative; those of `within` are no more than the replicas, the available ones than `ready`."""
    yield from non_negative(status, "status", *fields)
    for field in within:
        count = status.get(field) or 0
        if count > (status.get("replicas") or 0):
            yield invalid(f"status.{field}", count, "cannot be greater than status.replicas")
    available = status.get("availableReplicas") or 0
    if within and available > (status.get("readyReplicas") or 0):
        yield invalid("status.availableReplicas", available, f"cannot be greater than {ready}")


def check_collisions(status: Json, before: Json) -> Errors:
    """The count that makes names differ only grows."""
    old, new = before.get("collisionCount"), status.get("collisionCount")
    yield from non_negative(status, "status", "collisionCount")
    if old is not None and (new is None or new < old):
        yield invalid("status.collisionCount", new or 0, "cannot be decremented")
