"""ServiceCIDR. Source: https://kubernetes.io/docs/tasks/network/extend-service-ip-ranges/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.addresses import check_canonical_range, dual_stack
from tiphys.kinds.checks import IMMUTABLE
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import StatusStrategy


class ServiceCidrSpec(Model):
    cidrs: list[str] = []


class ServiceCidr(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceCidrSpec = ServiceCidrSpec()


class ServiceCidrStrategy(StatusStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        cidrs, spec = dig(new, "spec", "cidrs") or [], new.get("spec") or {}
        before = dig(old or {}, "spec", "cidrs") or []
        if cidrs == before and before:
            return
        # A second family may be added later; nothing else changes.
        if before and cidrs[: len(before)] != before:
            yield invalid("spec.cidrs", cidrs, IMMUTABLE)
            return
        if not cidrs:
            yield required("spec.cidrs", "at least one CIDR required")
        elif len(cidrs) > 2:
            yield invalid("spec.cidrs", spec, "may only hold up to 2 values")
        elif len(cidrs) == 2 and not dual_stack(cidrs):
            rule = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            yield invalid("spec.cidrs", spec, rule)
        else:
            for index, cidr in enumerate(cidrs):
                yield from check_canonical_range(cidr, f"spec.cidrs[{index}]")


SERVICE_CIDRS = declare(
    ServiceCidr, group="networking.k8s.io", version="v1", kind="ServiceCIDR", plural="servicecidrs",
    namespaced=False, status=True,
    columns=(NAME, column("CIDRs", lambda obj: ",".join(dig(obj, "spec", "cidrs") or ())), AGE),
    strategy=ServiceCidrStrategy(),
)  # fmt: skip
