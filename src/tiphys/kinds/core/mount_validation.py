"""Validation of where a container finds its volumes and devices.

Source: upstream's `ValidateVolumeMounts` and `ValidateVolumeDevices`.
"""

from __future__ import annotations

from tiphys.api.errors import forbidden, invalid, not_found, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors
from tiphys.kinds.core.env_validation import check_descending_path

_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")


def check_mounts(container: Json, path: str, volumes: dict[str, Json]) -> Errors:
    """`volumes`: those of the pod that are legal, by name."""
    mounts, devices = container.get("volumeMounts") or (), container.get("volumeDevices") or ()
    if mounts:
        used = {device.get("name"): device.get("devicePath") for device in devices}
        yield from _check_mounts(container, f"{path}.volumeMounts", volumes, used)
    if devices:
        used = {mount.get("name"): mount.get("mountPath") for mount in mounts}
        yield from _check_devices(devices, f"{path}.volumeDevices", volumes, used)


def _check_mounts(container: Json, path: str, volumes: dict[str, Json], used: dict[str | None, str | None]) -> Errors:
    seen: set[str] = set()
    for index, mount in enumerate(container["volumeMounts"]):
        where = f"{path}[{index}]"
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{where}.name")
        if name not in volumes:
            yield not_found(f"{where}.name", name)
        if not target:
            yield required(f"{where}.mountPath")
        if target in seen:
            yield invalid(f"{where}.mountPath", target, "must be unique")
        seen.add(target)
        if used:
            if name in used:
                yield invalid(f"{where}.name", name, "must not already exist in volumeDevices")
            if target in used.values():
                yield invalid(f"{where}.mountPath", target, "must not already exist as a path in volumeDevices")
        yield from _check_mount(mount, where, path, volumes.get(name) or {}, container)


def _check_mount(mount: Json, where: str, path: str, volume: Json, container: Json) -> Errors:
    """What a mount says besides its name and place. Upstream names the list, not the entry, for most of it."""
    for field in ("subPath", "subPathExpr"):
        if mount.get(field):
            if volume.get("image") is not None:
                yield invalid(f"{where}.{field}", mount[field], "not allowed in image volume sources")
            if field == "subPathExpr" and mount.get("subPath"):
                yield invalid(f"{where}.{field}", mount[field], "subPathExpr and subPath are mutually exclusive")
            yield from check_descending_path(mount[field], f"{path}.{field}")
    propagation, recursive = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
    if propagation is not None:
        if propagation not in _PROPAGATIONS:
            yield not_supported(f"{path}.mountPropagation", propagation, _PROPAGATIONS)
        if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
            rule = "Bidirectional mount propagation is available only to privileged containers"
            yield forbidden(f"{path}.mountPropagation", rule)
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            yield forbidden(f"{path}.recursiveReadOnly", "may only be specified when readOnly is true")
        if propagation not in (None, "None"):
            rule = "may only be specified when mountPropagation is None or not specified"
            yield forbidden(f"{path}.recursiveReadOnly", rule)
    elif recursive not in (None, "Disabled"):
        yield not_supported(f"{path}.recursiveReadOnly", recursive, _RECURSIVE)


def _check_devices(
    devices: list[Json], path: str, volumes: dict[str, Json], used: dict[str | None, str | None]
) -> Errors:
    paths: set[str] = set()
    named: set[str] = set()
    for index, device in enumerate(devices):
        where = f"{path}[{index}]"
        name, target = device.get("name") or "", device.get("devicePath") or ""
        if not name:
            yield required(f"{where}.name")
        if name in named:
            yield invalid(f"{where}.name", name, "must be unique")
        volume = volumes.get(name)
        if volume is None:
            yield not_found(f"{where}.name", name)
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            rule = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            yield invalid(f"{where}.name", name, rule)
        if not target:
            yield required(f"{where}.devicePath")
        if target in paths:
            yield invalid(f"{where}.devicePath", target, "must be unique")
        if ".." in target.split("/"):
            yield invalid(f"{where}.devicePath", target, "can not contain backsteps ('..')")
        else:
            paths.add(target)
        if name in used:
            yield invalid(f"{where}.name", name, "must not already exist in volumeMounts")
        if target in used.values():
            yield invalid(f"{where}.devicePath", target, "must not already exist as a path in volumeMounts")
        if name:
            named.add(name)
