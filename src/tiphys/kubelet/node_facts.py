"""What this machine has and is: capacity, names of its software, and whether anything runs short. Blocking."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64"}
# Upstream's hard eviction thresholds.
_MEMORY_LOW = 100 << 20
_DISK_LOW, _INODES_LOW, _PIDS_LOW = 0.10, 0.05, 0.05


@dataclass(frozen=True, slots=True)
class Machine:
    """Amounts in bytes and whole units."""

    cpus: int
    memory: int
    disk: int
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel: str = ""
    os_image: str = ""
    architecture: str = "amd64"
    hugepages: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pressure:
    memory: bool = False
    disk: bool = False
    pids: bool = False


def architecture() -> str:
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def machine(root: Path) -> Machine:
    """`root` is where pods' data lies, which is the disk that counts."""
    disk = os.statvfs(root)
    return Machine(
        len(os.sched_getaffinity(0)), _meminfo().get("MemTotal", 0), disk.f_blocks * disk.f_frsize,
        _text("/etc/machine-id"), _text("/sys/class/dmi/id/product_uuid"), _text("/proc/sys/kernel/random/boot_id"),
        platform.release(), _os_image(), architecture(), _hugepages(),
    )  # fmt: skip


def memory() -> int:
    """The machine's memory in bytes."""
    return _meminfo().get("MemTotal", 0)


def pressure(root: Path) -> Pressure:
    """What runs short now, by upstream's thresholds."""
    disk = os.statvfs(root)
    low_disk = disk.f_bavail < disk.f_blocks * _DISK_LOW
    low_inodes = disk.f_files > 0 and disk.f_favail < disk.f_files * _INODES_LOW
    maximum = int(_text("/proc/sys/kernel/pid_max") or 0)
    used = int((_text("/proc/loadavg").split() or ["0"] * 4)[3].partition("/")[2] or 0)
    return Pressure(
        _meminfo().get("MemAvailable", _MEMORY_LOW) < _MEMORY_LOW, low_disk or low_inodes,
        maximum > 0 and maximum - used < maximum * _PIDS_LOW,
    )  # fmt: skip


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _meminfo() -> dict[str, int]:
    rows = (line.split() for line in _text("/proc/meminfo").splitlines())
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows if len(row) >= 2}


def _os_image() -> str:
    for line in _text("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return "Linux"


def _hugepages() -> dict[str, int]:
    """Bytes by resource name, such as hugepages-2Mi; zero where the kernel has the size but none reserved."""
    found: dict[str, int] = {}
    for place in sorted(Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB")):
        kilobytes = int(place.name.removeprefix("hugepages-").removesuffix("kB"))
        size = f"{kilobytes >> 20}Gi" if kilobytes >= 1 << 20 else f"{kilobytes >> 10}Mi"
        found[f"hugepages-{size}"] = int(_text(f"{place}/nr_hugepages") or 0) * kilobytes * 1024
    return found
