"""EndpointSlice. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.kinds.declare import declare


class EndpointConditions(Model):
    """None: unknown; `ready` and `serving` unknown count as true, `terminating` as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Model):
    name: str


class EndpointHints(Model):
    for_zones: list[ForZone] = []
    for_nodes: list[ForZone] = []


class Endpoint(Model):
    addresses: list[str] = []
    conditions: EndpointConditions = EndpointConditions()
    hostname: str = ""
    node_name: str = ""
    zone: str = ""
    target_ref: ObjectReference | None = None
    hints: EndpointHints | None = None


class SlicePort(Model):
    """`port` None: all ports."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSlice(Model):
    metadata: ObjectMeta = ObjectMeta()
    address_type: str = ""
    endpoints: list[Endpoint] = []
    ports: list[SlicePort] = []

    @property
    def service_name(self) -> str:
        return self.metadata.labels.get("kubernetes.io/service-name", "")


ENDPOINT_SLICES = declare(
    EndpointSlice, group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices"
)
