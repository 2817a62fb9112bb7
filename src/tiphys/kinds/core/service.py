"""Service. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, Subresource
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.core.pod import PROXY_VERBS
from tiphys.kinds.core.service_columns import COLUMNS
from tiphys.kinds.core.service_rules import default_service, keep_allocated
from tiphys.kinds.core.service_validation import check_service, check_status
from tiphys.kinds.core.service_warnings import service_warnings
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default, text_at
from tiphys.kinds.strategy import StatusStrategy


class ServicePort(Model):
    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: IntOrString = 0
    node_port: int = 0
    app_protocol: str = ""


class ClientIpConfig(Model):
    timeout_seconds: int = 10800


class SessionAffinityConfig(Model):
    client_ip: ClientIpConfig = ClientIpConfig()


class ServiceSpec(Model):
    type: str = "ClusterIP"
    selector: dict[str, str] = {}
    ports: list[ServicePort] = []
    cluster_ip: str = ""
    cluster_ips: list[str] = []
    ip_families: list[str] = []
    ip_family_policy: str = "SingleStack"
    external_ips: list[str] = []
    external_name: str = ""
    external_traffic_policy: str = "Cluster"
    internal_traffic_policy: str = "Cluster"
    traffic_distribution: str = ""
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig = SessionAffinityConfig()
    publish_not_ready_addresses: bool = False
    health_check_node_port: int = 0
    load_balancer_ip: str = ""
    load_balancer_class: str = ""
    load_balancer_source_ranges: list[str] = []
    allocate_load_balancer_node_ports: bool = True


class LoadBalancerPort(Model):
    port: int
    protocol: str = "TCP"
    error: str = ""


class LoadBalancerIngress(Model):
    """Of a Service, or of an Ingress (which leaves `ip_mode` out)."""

    ip: str = ""
    hostname: str = ""
    ip_mode: str = ""
    ports: list[LoadBalancerPort] = []


class LoadBalancerStatus(Model):
    ingress: list[LoadBalancerIngress] = []


class ServiceStatus(Model):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

    @property
    def headless(self) -> bool:
        return self.spec.cluster_ip == "None"


class ServiceStrategy(StatusStrategy):
    """Addresses and node ports are given by the server's allocator, after defaulting and before validation."""

    name_rule = staticmethod(names.dns1035_label)

    def default(self, new: Json) -> None:
        default_service(new.setdefault("spec", {}))
        if new["spec"]["type"] == "LoadBalancer":
            for point in dig(new, "status", "loadBalancer", "ingress") or ():
                if point.get("ip"):
                    put_default(point, "ipMode", "VIP")

    def prepare(self, new: Json, old: Json | None) -> None:
        super().prepare(new, old)
        if old is None:
            new["status"] = {"loadBalancer": {}}
        else:
            keep_allocated(new["spec"], old.get("spec") or {})

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is None or new.get("spec") != old.get("spec") or new.get("metadata") != old.get("metadata"):
            yield from check_service(new, old)
        if old is not None and new.get("status") != old.get("status"):
            yield from check_status(new)

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        return service_warnings(new) if old is None or new.get("spec") != old.get("spec") else iter(())


SERVICES = declare(
    Service, group="", version="v1", kind="Service", plural="services", short_names=("svc",), categories=("all",),
    create_on_update=True,
    status=True,
    subresources=(Subresource("proxy", "ServiceProxyOptions", PROXY_VERBS),),
    selectable_fields={"spec.clusterIP": text_at("spec", "clusterIP"), "spec.type": text_at("spec", "type")},
    columns=COLUMNS, strategy=ServiceStrategy(),
)  # fmt: skip
