"""Ingress. Source: https://kubernetes.io/docs/reference/kubernetes-api/service-resources/ingress-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, not_supported, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows
from tiphys.kinds.columns import AGE, NAME, NONE, at, column, joined
from tiphys.kinds.core.service import ServiceStatus
from tiphys.kinds.core.service_columns import load_balancer
from tiphys.kinds.core.volume import TypedReference
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
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


_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


class IngressStrategy(StatusStrategy):
    def prepare(self, new: Json, old: Json | None) -> None:
        if old is None:
            new["status"] = {"loadBalancer": {}}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if not spec.get("rules") and spec.get("defaultBackend") is None:
            yield invalid("spec", spec.get("rules"), "either `defaultBackend` or `rules` must be specified")
        if spec.get("defaultBackend") is not None:
            yield from _check_backend(spec["defaultBackend"], "spec.defaultBackend")
        for index, rule in enumerate(spec.get("rules") or ()):
            yield from _check_rule(rule, f"spec.rules[{index}]")
        for index, tls in enumerate(spec.get("tls") or ()):
            for position, host in enumerate(tls.get("hosts") or ()):
                yield from _check_host(host, f"spec.tls[{index}].hosts[{position}]")
        if spec.get("ingressClassName") is not None:
            yield from follows(spec["ingressClassName"], "spec.ingressClassName", names.dns1123_subdomain)


def _check_host(host: str, path: str) -> Iterator[FieldError]:
    if names.ip(host) == []:
        yield invalid(path, host, "must be a DNS name, not an IP address")
    rule = names.wildcard_subdomain if "*" in host else names.dns1123_subdomain
    yield from follows(host, path, rule)


def _check_rule(rule: Json, path: str) -> Iterator[FieldError]:
    if rule.get("host"):
        yield from _check_host(rule["host"], f"{path}.host")
    http = rule.get("http")
    if http is None:
        return
    if not http.get("paths"):
        yield required(f"{path}.http.paths")
    for index, item in enumerate(http.get("paths") or ()):
        where, kind, value = f"{path}.http.paths[{index}]", item.get("pathType"), item.get("path") or ""
        if kind is None:
            yield required(f"{where}.pathType", "pathType must be specified")
        elif kind not in _PATH_TYPES:
            yield not_supported(f"{where}.pathType", kind, _PATH_TYPES)
        elif kind == "ImplementationSpecific":
            if value and not value.startswith("/"):
                yield invalid(f"{where}.path", value, "must be an absolute path")
        elif not value.startswith("/"):
            yield invalid(f"{where}.path", value, "must be an absolute path")
        else:
            for part in ("//", "/./", "/../", "%2f", "%2F"):
                if part in value:
                    yield invalid(f"{where}.path", value, f"must not contain '{part}'")
        yield from _check_backend(item.get("backend") or {}, f"{where}.backend")


def _check_backend(backend: Json, path: str) -> Iterator[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif service is None and resource is None:
        yield required(path, "port name or number is required")
    elif service is not None:
        if not service.get("name"):
            yield required(f"{path}.service.name")
        else:
            yield from follows(service["name"], f"{path}.service.name", names.dns1035_label)
        port = service.get("port") or {}
        if port.get("name") and port.get("number"):
            yield invalid(path, "", "cannot set both port name & port number")
        elif port.get("name"):
            yield from follows(port["name"], f"{path}.service.port.name", names.port_name)
        elif port.get("number"):
            for problem in names.port_number(port["number"]):
                yield invalid(f"{path}.service.port.number", port["number"], problem)
        else:
            yield required(path, "port name or number is required")


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
