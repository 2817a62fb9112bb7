"""The environment of a container: services, ConfigMaps and Secrets, its own variables, `$(NAME)` expanded. Pure.

https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from tiphys.kinds.core.container import Container, EnvVar, KeySelector
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.service import Service
from tiphys.kubelet.fields import Facts, field_value, resource_value

# The data of a ConfigMap ("configmap") or Secret ("secret") by name; None where it does not exist.
Lookup = Callable[[str, str], Mapping[str, bytes] | None]
_REFERENCE = re.compile(r"\$(\$|\(([^()$]*)\))")


class MissingSource(Exception):
    """A ConfigMap, Secret or key that the container needs is not there; the message is upstream's."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace `$(NAME)` where NAME is known; `$$` stands for one `$`."""
    if "$" not in text:
        return text

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return values.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def service_variables(services: Iterable[Service]) -> dict[str, str]:
    """Docker's link variables for each service that has an address."""
    found: dict[str, str] = {}
    for service in sorted(services, key=lambda item: item.metadata.name):
        ip = service.spec.cluster_ip
        if not ip or ip == "None" or not service.spec.ports:
            continue
        prefix = service.metadata.name.upper().replace("-", "_")
        found[f"{prefix}_SERVICE_HOST"] = ip
        found[f"{prefix}_SERVICE_PORT"] = str(service.spec.ports[0].port)
        host = f"[{ip}]" if ":" in ip else ip
        for position, port in enumerate(service.spec.ports):
            if port.name:
                found[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
            protocol = port.protocol.lower()
            url = f"{protocol}://{host}:{port.port}"
            if position == 0:
                found[f"{prefix}_PORT"] = url
            stem = f"{prefix}_PORT_{port.port}_{port.protocol.upper()}"
            found |= {stem: url, f"{stem}_PROTO": protocol, f"{stem}_PORT": str(port.port), f"{stem}_ADDR": ip}
    return found


def build(
    pod: Pod, container: Container, services: Mapping[str, str], lookup: Lookup, facts: Facts
) -> dict[str, str]:  # fmt: skip
    """The variables in the order of precedence. Raises MissingSource and fields.BadField."""
    own: dict[str, str] = {}
    for source in container.env_from:
        for kind, ref in (("configmap", source.config_map_ref), ("secret", source.secret_ref)):
            if ref is None:
                continue
            data = lookup(kind, ref.name)
            if data is None and not ref.optional:
                raise MissingSource(f'{kind} "{ref.name}" not found')
            own |= {source.prefix + key: _text(value) for key, value in (data or {}).items()}
    known = {**services, **own}
    for variable in container.env:
        value = _value(pod, container, variable, lookup, facts, known)
        if value is not None:
            own[variable.name] = known[variable.name] = value
    return {**services, **own}


def _value(
    pod: Pod, container: Container, variable: EnvVar, lookup: Lookup, facts: Facts, known: Mapping[str, str]
) -> str | None:
    """One variable's value; None where its optional source is missing."""
    source = variable.value_from
    if source is None:
        return expand(variable.value, known)
    if source.field_ref is not None:
        return field_value(pod, source.field_ref.field_path, facts)
    if source.resource_field_ref is not None:
        return resource_value(pod, source.resource_field_ref, container, facts)
    if source.config_map_key_ref is not None:
        return _key(pod, "configmap", source.config_map_key_ref, lookup)
    if source.secret_key_ref is not None:
        return _key(pod, "secret", source.secret_key_ref, lookup)
    return None


def _key(pod: Pod, kind: str, ref: KeySelector, lookup: Lookup) -> str | None:
    data = lookup(kind, ref.name)
    if data is not None and ref.key in data:
        return _text(data[ref.key])
    if ref.optional:
        return None
    if data is None:
        raise MissingSource(f'{kind} "{ref.name}" not found')
    shown = "ConfigMap" if kind == "configmap" else "Secret"
    raise MissingSource(f"couldn't find key {ref.key} in {shown} {pod.metadata.namespace}/{ref.name}")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
