"""What a pod of an operating system may not say, and what Windows' host processes need.

Source: upstream's `validateOS`, `validateLinux`, `validateWindows` and `validateWindowsHostProcessPod`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors

_LISTS = ("initContainers", "containers", "ephemeralContainers")
_POD_FIELDS = (
    "securityContext.appArmorProfile", "securityContext.seLinuxOptions", "hostUsers", "hostPID", "hostIPC",
    "securityContext.seccompProfile", "securityContext.fsGroup", "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls", "shareProcessNamespace", "securityContext.runAsUser", "securityContext.runAsGroup",
    "securityContext.supplementalGroups", "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
)  # fmt: skip
_CONTAINER_FIELDS = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def every_container(spec: Json, path: str) -> Iterator[tuple[Json, str]]:
    """Each container of a pod and its path: first those that initialize it, as upstream visits them."""
    for list_name in _LISTS:
        for index, container in enumerate(spec.get(list_name) or ()):
            yield container, f"{path}.{list_name}[{index}]"


def check_os(spec: Json, path: str) -> Errors:
    name = spec["os"].get("name") or ""
    if not name:
        yield required(f"{path}.os.name", "cannot be empty")
    elif name not in ("linux", "windows"):
        yield not_supported(f"{path}.os", name, ("linux", "windows"))
    elif name == "linux":
        yield from _check_linux(spec, path)
    else:
        yield from _check_windows(spec, path)


def _check_linux(spec: Json, path: str) -> Errors:
    places = [(spec, path), *every_container(spec, path)]
    for owner, where in places:
        if (owner.get("securityContext") or {}).get("windowsOptions") is not None:
            rule = "windows options cannot be set for a linux pod"
            yield forbidden(f"{where}.securityContext.windowsOptions", rule)


def _check_windows(spec: Json, path: str) -> Errors:
    context = spec.get("securityContext") or {}
    for field in _POD_FIELDS:
        owner, _, name = field.rpartition(".")
        value = (context if owner else spec).get(name)
        if value not in (None, False, []) or (value is False and name in ("hostUsers", "shareProcessNamespace")):
            yield forbidden(f"{path}.{field}", "cannot be set for a windows pod")
    for container, where in every_container(spec, path):
        context = container.get("securityContext") or {}
        for name in _CONTAINER_FIELDS:
            if context.get(name) is not None:
                yield forbidden(f"{where}.securityContext.{name}", "cannot be set for a windows pod")


def _host_process(owner: Json) -> bool | None:
    found: bool | None = ((owner.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    return found


def check_host_process(spec: Json, path: str) -> Errors:
    """All containers of a pod are host processes, or none is; those need the host's network."""
    whole, count, total = _host_process(spec), 0, 0
    for container, where in every_container(spec, path):
        own = _host_process(container)
        total += 1
        if whole is not None and own is not None and whole != own:
            shown = "true" if whole else "false"
            rule = f"pod hostProcess value must be identical if both are specified, was {shown}"
            yield invalid(f"{where}.securityContext.windowsOptions.hostProcess", own, rule)
        count += bool(own if own is not None else whole)
    if not count:
        return
    if count != total:
        rule = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        yield invalid(path, "", rule)
    if not spec.get("hostNetwork"):
        rule = "hostNetwork must be true if pod contains any hostProcess containers"
        yield invalid(f"{path}.hostNetwork", False, rule)
