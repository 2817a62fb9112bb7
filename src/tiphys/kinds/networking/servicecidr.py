"""ServiceCIDR. Source: https://kubernetes.io/docs/tasks/network/extend-service-ip-ranges/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows
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
        cidrs = dig(new, "spec", "cidrs") or ()
        if not cidrs:
            yield required("spec.cidrs", "at least one CIDR required")
        if len(cidrs) > 2:
            yield invalid("spec", dig(new, "spec"), "may only hold up to 2 values")
        for index, cidr in enumerate(cidrs):
            yield from follows(cidr, f"spec.cidrs[{index}]", names.cidr)
        before = dig(old or {}, "spec", "cidrs") or []
        if before and list(cidrs)[: len(before)] != before:
            yield invalid("spec.cidrs", list(cidrs), "field is immutable")


SERVICE_CIDRS = declare(
    ServiceCidr, group="networking.k8s.io", version="v1", kind="ServiceCIDR", plural="servicecidrs",
    namespaced=False, status=True,
    columns=(NAME, column("CIDRs", lambda obj: ",".join(dig(obj, "spec", "cidrs") or ())), AGE),
    strategy=ServiceCidrStrategy(),
)  # fmt: skip
