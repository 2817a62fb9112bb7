"""ServiceCIDR. Source: https://kubernetes.io/docs/tasks/network/extend-service-ip-ranges/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare


class ServiceCidrSpec(Model):
    cidrs: list[str] = []


class ServiceCidr(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceCidrSpec = ServiceCidrSpec()


SERVICE_CIDRS = declare(
    ServiceCidr, group="networking.k8s.io", version="v1", kind="ServiceCIDR", plural="servicecidrs",
    namespaced=False, status=True,
)  # fmt: skip
