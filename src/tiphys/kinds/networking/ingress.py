"""Ingress. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/ingress-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.core.service import ServiceStatus
from tiphys.kinds.core.volume import TypedReference
from tiphys.kinds.declare import declare


class BackendPort(Model):
    """By name or by number; the other is empty."""

    name: str = ""
    number: int = 0


class ServiceBackend(Model):
    name: str
    port: BackendPort = BackendPort()


class IngressBackend(Model):
    service: ServiceBackend | None = None
    resource: TypedReference | None = None


class HttpIngressPath(Model):
    path_type: str
    backend: IngressBackend
    path: str = ""


class HttpIngressRule(Model):
    paths: list[HttpIngressPath] = []


class IngressRule(Model):
    host: str = ""
    http: HttpIngressRule | None = None


class IngressTls(Model):
    hosts: list[str] = []
    secret_name: str = ""


class IngressSpec(Model):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    tls: list[IngressTls] = []
    rules: list[IngressRule] = []


class Ingress(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: IngressSpec = IngressSpec()
    status: ServiceStatus = ServiceStatus()


INGRESSES = declare(
    Ingress, group="networking.k8s.io", version="v1", kind="Ingress", plural="ingresses", short_names=("ing",),
    status=True,
)  # fmt: skip
