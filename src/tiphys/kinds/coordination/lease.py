"""Lease. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, forbidden, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import non_negative
from tiphys.kinds.columns import AGE, NAME, at
from tiphys.kinds.coordination.strategies import check_strategy
from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import KindStrategy


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


class LeaseStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        duration = spec.get("leaseDurationSeconds")
        if duration is not None and duration <= 0:
            yield invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
        yield from non_negative(spec, "spec", "leaseTransitions")
        strategy = spec.get("strategy")
        if strategy is not None:
            yield from check_strategy(strategy, "spec.strategy")
        if spec.get("preferredHolder") and not strategy:
            yield forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")


LEASES = declare(
    Lease, group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", unconditional_update=False,
    create_on_update=True,
    columns=(NAME, at("Holder", "spec", "holderIdentity"), AGE), strategy=LeaseStrategy(),
)  # fmt: skip
