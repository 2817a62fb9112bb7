"""Ingress. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/ingress-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows
from tiphys.kinds.columns import AGE, NAME, NONE, at, column, joined
from tiphys.kinds.core.service import ServiceStatus
from tiphys.kinds.core.service_columns import load_balancer
from tiphys.kinds.core.service_validation import check_point_hostname
from tiphys.kinds.core.volume import TypedReference
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.networking.ingress_validation import check_ingress
from tiphys.kinds.strategy import StatusStrategy


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


class IngressStrategy(StatusStrategy):
    def prepare(self, new: Json, old: Json | None) -> None:
        if old is None:
            new["status"] = {"loadBalancer": {}}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec, before = new.get("spec") or {}, (old or {}).get("spec")
        if spec != before:
            yield from check_ingress(spec, before)
        if old is None:
            chosen, annotation = spec.get("ingressClassName"), dig(new, "metadata", "annotations", CLASS_ANNOTATION)
            if chosen is not None and annotation is not None and annotation != chosen:
                rule = "must match `ingressClassName` when both are specified"
                yield invalid(f"annotations.{CLASS_ANNOTATION}", annotation, rule)
        elif new.get("status") != old.get("status"):
            for index, point in enumerate(dig(new, "status", "loadBalancer", "ingress") or ()):
                where = f"status.loadBalancer.ingress[{index}]"
                if point.get("ip"):
                    yield from follows(point["ip"], f"{where}.ip", names.ip)
                yield from check_point_hostname(point, where)

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        if old is None and CLASS_ANNOTATION in (dig(new, "metadata", "annotations") or {}):
            yield f"annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"


CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def _hosts(obj: Json) -> str:
    return joined((r["host"] for r in dig(obj, "spec", "rules") or () if r.get("host")), empty="*", most=3)


INGRESSES = declare(
    Ingress, group="networking.k8s.io", version="v1", kind="Ingress", plural="ingresses", short_names=("ing",),
    status=True,
    columns=(
        NAME, at("Class", "spec", "ingressClassName", empty=NONE), column("Hosts", _hosts),
        column("Address", load_balancer),
        column("Ports", lambda obj: "80, 443" if dig(obj, "spec", "tls") else "80"), AGE,
    ),
    strategy=IngressStrategy(),
)  # fmt: skip
