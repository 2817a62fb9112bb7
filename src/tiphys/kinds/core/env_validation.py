"""Validation of what a container's environment and its files are filled from.

Source: upstream's `ValidateEnv`, `ValidateEnvFrom` and `validateObjectFieldSelector`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from tiphys.api import names, quantity
from tiphys.api.errors import invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows

ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
FILE_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_KNOWN_FIELDS = frozenset((
    *ENV_FIELDS, *FILE_FIELDS, "spec.schedulerName", "spec.restartPolicy", "spec.hostNetwork", "status.phase",
    "status.nominatedNodeName",
))  # fmt: skip
_RESOURCES = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory",
    "requests.cpu", "requests.ephemeral-storage", "requests.memory",
)  # fmt: skip
_HUGE = ("limits.hugepages-", "requests.hugepages-")
_SIZES = ("1", *(f"1{suffix}" for suffix in ("k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")))
_SUBSCRIPT = re.compile(r"(.+)\['(.*)'\]")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_CHOICES = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
_ONE_ONLY = "may not have more than one field specified at a time"


def check_env(variables: list[Json], path: str) -> Errors:
    for index, variable in enumerate(variables):
        name = variable.get("name")
        if not name:
            yield required(f"{path}[{index}].name")
        else:
            for problem in names.variable_name(name):
                yield invalid(f"{path}[{index}].name", name, problem)
        if "valueFrom" in variable:
            yield from _check_value_from(variable, f"{path}[{index}].valueFrom")


def _check_value_from(variable: Json, path: str) -> Errors:
    source = variable["valueFrom"] or {}
    found = [name for name in _SOURCES if source.get(name) is not None]
    for name in found:
        yield from _check_source(name, source[name], f"{path}.{name}")
    if not found:
        yield invalid(path, "", f"must specify one of: {_CHOICES}")
    elif variable.get("value"):
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif len(found) > 1:
        yield invalid(path, "", _ONE_ONLY)


def _check_source(name: str, source: Json, path: str) -> Errors:
    if name == "fieldRef":
        yield from check_field_selector(source, path, ENV_FIELDS)
    elif name == "resourceFieldRef":
        yield from check_resource_selector(source, path, volume=False)
    elif name == "fileKeyRef":
        yield from _check_file_key(source, path)
    else:
        yield from follows(source.get("name") or "", f"{path}.name", names.dns1123_subdomain)
        yield from _check_key(source.get("key") or "", f"{path}.key", names.config_key)


def _check_key(key: str, path: str, rule: Callable[[str], Iterable[str]]) -> Errors:
    if not key:
        yield required(path)
    else:
        yield from follows(key, path, rule)


def _check_file_key(source: Json, path: str) -> Errors:
    yield from _check_key(source.get("key") or "", f"{path}.key", names.variable_name)
    volume, file = source.get("volumeName") or "", source.get("path") or ""
    if not volume:
        yield required(f"{path}.volumeName")
    if not file:
        yield required(f"{path}.path")
    else:
        yield from check_local_path(file, f"{path}.path")


def check_env_from(sources: list[Json], path: str) -> Errors:
    for index, source in enumerate(sources):
        where = f"{path}[{index}]"
        if source.get("prefix"):
            yield from follows(source["prefix"], f"{where}.prefix", names.variable_name)
        found = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        for name in found:
            target = source[name].get("name") or ""
            if not target:
                yield required(f"{where}.{name}.name")
            else:
                for problem in names.prefix(names.dns1123_subdomain, target):
                    yield invalid(f"{where}.{name}.name", target, problem)
        # Upstream names the list here, not the entry.
        if not found:
            yield invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(found) > 1:
            yield invalid(path, "", _ONE_ONLY)


def check_field_selector(source: Json, path: str, allowed: tuple[str, ...]) -> Errors:
    """An ObjectFieldSelector: one of the `allowed` fields, or one label or annotation."""
    field = source.get("fieldPath") or ""
    if field in allowed and source.get("apiVersion") == "v1":
        return
    if not source.get("apiVersion"):
        yield required(f"{path}.apiVersion")
        return
    if not field:
        yield required(f"{path}.fieldPath")
        return
    shape = _SUBSCRIPT.fullmatch(field)
    if source["apiVersion"] != "v1":
        why = f"unsupported pod version: {source['apiVersion']}"
        yield invalid(f"{path}.fieldPath", field, f"error converting fieldPath: {why}")
    elif shape is None:
        if field not in _KNOWN_FIELDS:
            why = f"field label not supported: {field}"
            yield invalid(f"{path}.fieldPath", field, f"error converting fieldPath: {why}")
        else:
            yield not_supported(f"{path}.fieldPath", field, sorted(allowed))
    elif shape[1] in ("metadata.annotations", "metadata.labels"):
        key = shape[2].lower() if shape[1] == "metadata.annotations" else shape[2]
        yield from follows(key, path, names.qualified_name)
    else:
        why = f"field label does not support subscript: {field}"
        yield invalid(f"{path}.fieldPath", field, f"error converting fieldPath: {why}")


def check_resource_selector(source: Json, path: str, *, volume: bool) -> Errors:
    """A ResourceFieldSelector; of a `volume` it must name its container."""
    resource = source.get("resource") or ""
    if volume and not source.get("containerName"):
        yield required(f"{path}.containerName")
    elif not resource:
        yield required(f"{path}.resource")
    elif resource not in _RESOURCES and not resource.startswith(_HUGE):
        yield not_supported(f"{path}.resource", resource, _RESOURCES)
    divisor = quantity.canonical(source.get("divisor") or "0")
    if divisor != "0":
        yield from _check_divisor(resource, divisor, f"{path}.divisor")


def _check_divisor(resource: str, divisor: str, path: str) -> Errors:
    kind = resource.partition(".")[2]
    if kind == "cpu":
        if divisor not in ("1m", "1"):
            yield invalid(path, resource, "only divisor's values 1m and 1 are supported with the cpu resource")
        return
    called = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(kind)
    if kind.startswith("hugepages-"):
        called = "hugepages"
    if called and divisor not in _SIZES:
        listed = ", ".join(_SIZES)
        yield invalid(path, resource, f"only divisor's values {listed} are supported with the {called} resource")


def check_descending_path(value: str, path: str) -> Errors:
    """A path below something: relative, without ".."."""
    if value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    yield from check_no_backsteps(value, path)


def check_no_backsteps(value: str, path: str) -> Errors:
    if ".." in value and ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def check_local_path(value: str, path: str) -> Errors:
    """Also not beginning with "..", which the kubelet keeps for itself."""
    yield from check_descending_path(value, path)
    if value.startswith("..") and not value.startswith("../"):
        yield invalid(path, value, "must not start with '..'")
