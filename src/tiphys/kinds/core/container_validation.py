"""Validation of containers: names, images, ports, environment, mounts, probes, hooks, security.

Source: upstream's `validateContainers` in `pkg/apis/core/validation/validation.go`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import names, quantity
from tiphys.api.errors import duplicate, forbidden, invalid, not_found, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, is_extended, non_negative, one_of, requests_within_limits

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")
_STANDARD = ("cpu", "ephemeral-storage", "memory")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip


def check_containers(spec: Json, path: str) -> Errors:
    """All containers of a pod, and that their names and host ports differ."""
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    volumes = {volume.get("name", ""): volume for volume in spec.get("volumes") or ()}
    taken: set[str] = set()
    host_ports: set[tuple[Any, ...]] = set()
    for list_name in ("containers", "initContainers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(list_name) or ()):
            where = f"{path}.{list_name}[{index}]"
            yield from _check_container(container, where, volumes)
            name = container.get("name")
            if name and name in taken:
                yield duplicate(f"{where}.name", name)
            taken.add(name)
            yield from _check_role(container, where, list_name)
            yield from _check_ports(container.get("ports") or [], f"{where}.ports", host_ports, spec)


def _check_container(container: Json, path: str, volumes: dict[str, Json]) -> Errors:
    name = container.get("name") or ""
    if name:
        yield from follows(name, f"{path}.name", names.dns1123_label)
    else:
        yield required(f"{path}.name")
    image = container.get("image") or ""
    if not image:
        yield required(f"{path}.image")
    elif image.strip() != image:
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(container, path, "imagePullPolicy", PULL_POLICIES)
    yield from one_of(container, path, "terminationMessagePolicy", ("File", "FallbackToLogsOnError"))
    yield from _check_env(container.get("env") or [], f"{path}.env")
    yield from _check_env_from(container.get("envFrom") or [], f"{path}.envFrom")
    yield from _check_mounts(container, path, volumes)
    yield from _check_resources(container.get("resources") or {}, f"{path}.resources")
    yield from _check_context(container.get("securityContext") or {}, f"{path}.securityContext")


def _check_role(container: Json, path: str, list_name: str) -> Errors:
    """What only some of init, regular and ephemeral containers may have."""
    restart = container.get("restartPolicy")
    if restart is not None and list_name == "initContainers" and restart not in ("Always", "OnFailure", "Never"):
        yield not_supported(f"{path}.restartPolicy", restart, ("Always", "OnFailure", "Never"))
    probed = list_name == "containers" or (list_name == "initContainers" and restart == "Always")
    for name in _PROBES:
        probe = container.get(name)
        if probe is not None and not probed:
            where = "init containers without restartPolicy=Always" if list_name == "initContainers" else ""
            yield forbidden(f"{path}.{name}", f"may not be set for {where or 'ephemeral containers'}")
        elif probe is not None:
            yield from _check_probe(probe, f"{path}.{name}", ready=name == "readinessProbe")
    lifecycle = container.get("lifecycle") or {}
    if lifecycle and not probed:
        where = "init containers without restartPolicy=Always" if list_name == "initContainers" else ""
        yield forbidden(f"{path}.lifecycle", f"may not be set for {where or 'ephemeral containers'}")
    for name in ("postStart", "preStop"):
        if lifecycle.get(name) is not None:
            yield from _check_handler(lifecycle[name], f"{path}.lifecycle.{name}")


def _check_ports(ports: list[Json], path: str, host_ports: set[tuple[Any, ...]], spec: Json) -> Errors:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        where = f"{path}[{index}]"
        name = port.get("name")
        if name:
            yield from follows(name, f"{where}.name", names.port_name)
            if name in seen:
                yield duplicate(f"{where}.name", name)
            seen.add(name)
        number, host = port.get("containerPort") or 0, port.get("hostPort") or 0
        if not number:
            yield required(f"{where}.containerPort")
        else:
            yield from follows_port(number, f"{where}.containerPort")
        if host:
            yield from follows_port(host, f"{where}.hostPort")
            if spec.get("hostNetwork") and host != number:
                yield invalid(f"{where}.containerPort", number, "must match `hostPort` when `hostNetwork` is true")
            taken = (port.get("protocol"), port.get("hostIP") or "", host)
            if taken in host_ports:
                yield duplicate(f"{where}.hostPort", f"{taken[0]}/{taken[1]}/{host}")
            host_ports.add(taken)
        yield from one_of(port, where, "protocol", PROTOCOLS)


def follows_port(number: Any, path: str) -> Errors:
    for problem in names.port_number(number):
        yield invalid(path, number, problem)


def _check_env(variables: list[Json], path: str) -> Errors:
    for index, variable in enumerate(variables):
        where = f"{path}[{index}]"
        if not variable.get("name"):
            yield required(f"{where}.name")
        else:
            yield from follows(variable["name"], f"{where}.name", names.variable_name)
        source = variable.get("valueFrom")
        if source is None:
            continue
        found = [name for name, value in source.items() if value is not None]
        if variable.get("value"):
            yield invalid(f"{where}.valueFrom", "", "may not be specified when `value` is not empty")
        elif not found:
            choices = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            yield invalid(f"{where}.valueFrom", "", f"must specify one of: {choices}")
        elif len(found) > 1:
            yield invalid(f"{where}.valueFrom", "", "may not have more than one field specified at a time")
        for name in found:
            yield from _check_source(name, source[name], f"{where}.valueFrom.{name}")


def _check_source(name: str, source: Json, path: str) -> Errors:
    if name == "fieldRef":
        field = source.get("fieldPath") or ""
        if not field:
            yield required(f"{path}.fieldPath")
        elif not field.startswith(("metadata.annotations['", "metadata.labels['")) and field not in _ENV_FIELDS:
            yield not_supported(f"{path}.fieldPath", field, sorted(_ENV_FIELDS))
    elif name in ("configMapKeyRef", "secretKeyRef"):
        if not source.get("name"):
            yield required(f"{path}.name")
        if not source.get("key"):
            yield required(f"{path}.key")
        else:
            yield from follows(source["key"], f"{path}.key", names.config_key)
    elif name == "resourceFieldRef" and not source.get("resource"):
        yield required(f"{path}.resource")


def _check_env_from(sources: list[Json], path: str) -> Errors:
    for index, source in enumerate(sources):
        where = f"{path}[{index}]"
        if source.get("prefix"):
            yield from follows(source["prefix"], f"{where}.prefix", names.variable_name)
        found = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        if not found:
            yield invalid(where, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(found) > 1:
            yield invalid(where, "", "may not have more than one field specified at a time")
        for name in found:
            if not source[name].get("name"):
                yield required(f"{where}.{name}.name")


def _check_mounts(container: Json, path: str, volumes: dict[str, Json]) -> Errors:
    seen: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        where = f"{path}.volumeMounts[{index}]"
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{where}.name")
        elif name not in volumes:
            yield not_found(f"{where}.name", name)
        if not target:
            yield required(f"{where}.mountPath")
        elif target in seen:
            yield invalid(f"{where}.mountPath", target, "must be unique")
        seen.add(target)
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                yield from relative_path(mount[field], f"{where}.{field}")
        if mount.get("subPath") and mount.get("subPathExpr"):
            rule = "subPathExpr and subPath are mutually exclusive"
            yield invalid(f"{where}.subPathExpr", mount["subPathExpr"], rule)
        yield from one_of(mount, where, "mountPropagation", ("Bidirectional", "HostToContainer", "None"))
    for index, device in enumerate(container.get("volumeDevices") or ()):
        where = f"{path}.volumeDevices[{index}]"
        if device.get("name") not in volumes:
            yield not_found(f"{where}.name", device.get("name"))
        if not device.get("devicePath"):
            yield required(f"{where}.devicePath")


def relative_path(value: str, path: str) -> Errors:
    """A path below a volume: relative, without "..".."""
    if value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    if ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def _check_probe(probe: Json, path: str, *, ready: bool) -> Errors:
    yield from _check_handler(probe, path, allowed=_HANDLERS[:4])
    fields = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
    yield from non_negative(probe, path, *fields)
    if not ready and probe.get("successThreshold", 1) != 1:
        yield invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None:
        if ready:
            yield invalid(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
        elif grace <= 0:
            yield invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")


def _check_handler(handler: Json, path: str, allowed: tuple[str, ...] = _HANDLERS) -> Errors:
    found = [name for name in _HANDLERS if handler.get(name) is not None]
    if not found:
        yield required(path, "must specify a handler type")
    for name in found[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    for name in found[:1]:
        action, where = handler[name], f"{path}.{name}"
        if name == "exec" and not action.get("command"):
            yield required(f"{where}.command")
        if name in ("httpGet", "tcpSocket", "grpc"):
            yield from _check_port(action.get("port"), f"{where}.port")
        if name == "httpGet":
            if not action.get("path"):
                yield required(f"{where}.path")
            yield from one_of(action, where, "scheme", ("HTTP", "HTTPS"))
            for index, header in enumerate(action.get("httpHeaders") or ()):
                yield from follows(header.get("name", ""), f"{where}.httpHeaders[{index}]", names.header_name)


def _check_port(port: Any, path: str) -> Errors:
    if isinstance(port, str):
        yield from follows(port, path, names.port_name)
    else:
        yield from follows_port(port or 0, path)


def _check_resources(resources: Json, path: str) -> Errors:
    for kind in ("limits", "requests"):
        for name, amount in (resources.get(kind) or {}).items():
            if is_extended(name):
                if quantity.parse(amount).milli() % 1000:
                    yield invalid(f"{path}.{kind}[{name}]", amount, "must be an integer")
            elif name not in _STANDARD and not name.startswith("hugepages-"):
                yield invalid(f"{path}.{kind}", name, "must be a standard resource for containers")
    yield from requests_within_limits(resources, path)


def _check_context(context: Json, path: str) -> Errors:
    for field in ("runAsUser", "runAsGroup"):
        value = context.get(field)
        if value is not None and not 0 <= value <= 2**31 - 1:
            yield invalid(f"{path}.{field}", value, f"must be between 0 and {2**31 - 1}, inclusive")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            yield invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        added = (context.get("capabilities") or {}).get("add") or ()
        if any(name in ("SYS_ADMIN", "CAP_SYS_ADMIN") for name in added):
            rule = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield invalid(path, context, rule)
    yield from one_of(context, path, "procMount", ("Default", "Unmasked"))
