"""CDI for runtimes that do not know it: what the specs of devices say is put into the container by the kubelet itself.

containerd before 2.0 takes no CDI devices unless told to in its configuration, and 1.6 not even then. Environment,
device nodes and mounts can be given to any runtime; hooks cannot, and a device that needs them is refused.
Source: https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tiphys.kubelet.runtime import DeviceNode, Mount

Json = dict[str, Any]


class NoSuchDevice(Exception):
    """A device has no spec, or one that cannot be followed here."""


@dataclass(frozen=True, slots=True)
class Edits:
    env: tuple[tuple[str, str], ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()


def knows_cdi(name: str, version: str) -> bool:
    """Whether the runtime takes CDI devices by itself."""
    return name != "containerd" or int((version.lstrip("v").partition(".")[0]) or 0) >= 2


async def edits(names: Sequence[str], directories: Sequence[Path]) -> Edits:
    """What a container of these devices has more, each as "vendor/class=device". Raises NoSuchDevice and OSError."""
    return await asyncio.to_thread(_edits, names, directories) if names else Edits()


def _edits(names: Sequence[str], directories: Sequence[Path]) -> Edits:
    specs = list(_specs(directories))
    env: dict[str, str] = {}
    devices: dict[str, DeviceNode] = {}
    mounts: dict[str, Mount] = {}
    for found in _found(names, specs):
        for name in ("hooks", "intelRdt", "netDevices"):
            if found.get(name):
                which = ", ".join(names)
                raise NoSuchDevice(f"CDI devices {which} need {name}, which this container runtime cannot do")
        for text in found.get("env") or ():
            key, _, value = text.partition("=")
            env[key] = value
        for node in found.get("deviceNodes") or ():
            made = DeviceNode(node["path"], node.get("hostPath") or node["path"], node.get("permissions") or "rwm")
            devices[made.container_path] = made
        for mount in found.get("mounts") or ():
            readonly = "ro" in (mount.get("options") or ())
            mounts[mount["containerPath"]] = Mount(mount["containerPath"], mount["hostPath"], readonly)
    return Edits(tuple(env.items()), tuple(devices.values()), tuple(mounts.values()))


def _found(names: Sequence[str], specs: Sequence[Json]) -> Iterator[Json]:
    """The edits of each device, after those of its spec."""
    begun: list[Json] = []
    for name in names:
        kind, _, device = name.rpartition("=")
        match = next(
            (
                (spec, each) for spec in reversed(specs) if spec.get("kind") == kind
                for each in spec.get("devices") or () if each.get("name") == device
            ), None,
        )  # fmt: skip
        if match is None:
            raise NoSuchDevice(f"unresolvable CDI devices {name}")
        spec, each = match
        if spec not in begun:
            begun.append(spec)
            yield spec.get("containerEdits") or {}
        yield each.get("containerEdits") or {}


def _specs(directories: Sequence[Path]) -> Iterator[Json]:
    for directory in directories:
        for path in sorted(directory.glob("*")) if directory.is_dir() else ():
            if path.suffix in (".json", ".yaml", ".yml"):
                yield _read(path)


def _read(path: Path) -> Json:
    try:
        if path.suffix == ".json":
            found: Json = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            return found
        import yaml

        found = yaml.safe_load(path.read_bytes())
    except (msgspec.DecodeError, ValueError) as error:
        raise NoSuchDevice(f"CDI spec {path}: {error}") from error
    return found if isinstance(found, dict) else {}
