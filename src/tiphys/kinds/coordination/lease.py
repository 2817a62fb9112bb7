"""Lease. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare


class LeaseSpec(Model):
    """Times are MicroTimes, RFC 3339 with six digits of a second."""

    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int = 0
    strategy: str = ""
    preferred_holder: str = ""


class Lease(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


LEASES = declare(Lease, group="coordination.k8s.io", version="v1", kind="Lease", plural="leases")
