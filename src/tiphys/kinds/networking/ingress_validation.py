"""Validation of an Ingress' spec. Source: upstream's `ValidateIngressSpec`."""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.addresses import parse
from tiphys.kinds.checks import Errors, follows

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_WRONG_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_WRONG_ENDS = ("/..", "/.")


def check_ingress(spec: Json, before: Json | None) -> Errors:
    """`before`: the spec that stands, whose names of secrets may be wrong as they may stay."""
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        yield invalid("spec", spec.get("rules"), "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        yield from _check_backend(spec["defaultBackend"], "spec.defaultBackend")
    for index, rule in enumerate(spec.get("rules") or ()):
        yield from _check_rule(rule, f"spec.rules[{index}]")
    known = {tls.get("secretName") for tls in (before or {}).get("tls") or ()}
    for index, tls in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(tls.get("hosts") or ()):
            yield from _check_host(host, f"spec.tls[{index}].hosts[{position}]")
        secret = tls.get("secretName")
        if secret and secret not in known:
            yield from follows(secret, f"spec.tls[{index}].secretName", names.dns1123_subdomain)
    if spec.get("ingressClassName") is not None:
        yield from follows(spec["ingressClassName"], "spec.ingressClassName", names.dns1123_subdomain)


def _check_host(host: str, path: str) -> Errors:
    yield from follows(host, path, names.wildcard_subdomain if "*" in host else names.dns1123_subdomain)


def _check_rule(rule: Json, path: str) -> Errors:
    host, http = rule.get("host"), rule.get("http")
    if host:
        if parse(host) is not None:
            yield invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        yield from _check_host(host, f"{path}.host")
    if http is None:
        return
    if not http.get("paths"):
        yield required(f"{path}.http.paths")
    for index, item in enumerate(http.get("paths") or ()):
        yield from _check_path(item, f"{path}.http.paths[{index}]")


def _check_path(item: Json, path: str) -> Errors:
    kind, value, where = item.get("pathType"), item.get("path") or "", f"{path}.path"
    if kind is None:
        yield required(f"{path}.pathType", "pathType must be specified")
        return
    if kind not in _PATH_TYPES:
        yield not_supported(f"{path}.pathType", kind, _PATH_TYPES)
    elif not value.startswith("/") and (value or kind != "ImplementationSpecific"):
        yield invalid(where, value, "must be an absolute path")
    if kind in ("Exact", "Prefix"):
        for part in _WRONG_PARTS:
            if part in value:
                yield invalid(where, value, f"must not contain '{part}'")
        for end in _WRONG_ENDS:
            if value.endswith(end):
                yield invalid(where, value, f"cannot end with '{end}'")
    yield from _check_backend(item.get("backend") or {}, f"{path}.backend")


def _check_backend(backend: Json, path: str) -> Errors:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        yield from check_reference(resource, f"{path}.resource")
    elif service is not None:
        yield from _check_service(service, path)
    else:
        yield invalid(path, "", "resource or service backend is required")


def _check_service(service: Json, path: str) -> Errors:
    where, port = f"{path}.service", service.get("port") or {}
    if not service.get("name"):
        yield required(f"{where}.name")
    else:
        yield from follows(service["name"], f"{where}.name", names.dns1035_label)
    if port.get("name") and port.get("number"):
        yield invalid(path, "", "cannot set both port name & port number")
    elif port.get("name"):
        yield from follows(port["name"], f"{where}.port.name", names.port_name)
    elif port.get("number"):
        for problem in names.port_number(port["number"]):
            yield invalid(f"{where}.port.number", port["number"], problem)
    else:
        yield required(path, "port name or number is required")


def check_reference(reference: Json, path: str) -> Errors:
    """A TypedLocalObjectReference."""
    if reference.get("apiGroup") is not None:
        yield from follows(reference["apiGroup"], f"{path}.apiGroup", names.dns1123_subdomain)
    for field in ("kind", "name"):
        if not reference.get(field):
            yield required(f"{path}.{field}", f"{field} is required")
        else:
            yield from follows(reference[field], f"{path}.{field}", names.path_segment)
