"""Endpoints. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoints-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta, ObjectReference
from tiphys.kinds.declare import declare


class EndpointAddress(Model):
    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(Model):
    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSubset(Model):
    addresses: list[EndpointAddress] = []
    not_ready_addresses: list[EndpointAddress] = []
    ports: list[EndpointPort] = []


class Endpoints(Model):
    metadata: ObjectMeta = ObjectMeta()
    subsets: list[EndpointSubset] = []


ENDPOINTS = declare(
    Endpoints, group="", version="v1", kind="Endpoints", plural="endpoints", short_names=("ep",), singular="endpoints"
)
