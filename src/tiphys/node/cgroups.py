"""Control groups, v1 and v2: the tree of pods, their limits and their use.

Under the cluster's root: `kubepods/podUID` for Guaranteed pods, `kubepods/burstable/podUID`,
`kubepods/besteffort/podUID`. Paths are as the runtime takes them (`cgroup_parent`), below each controller's mount.
https://kubernetes.io/docs/concepts/architecture/cgroups/
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
# What a pod's limits and accounting need of v1; the runtime makes the others for its containers itself.
_V1_CONTROLLERS = ("cpu", "memory", "cpuset", "pids", "cpuacct")
MIN_SHARES, MAX_SHARES = 2, 262_144
PERIOD_USEC = 100_000


@dataclass(frozen=True, slots=True)
class Limits:
    """`cpu_shares` by weight of 1024 a core, `cpu_quota` in microseconds each 100 ms, `memory` in bytes; 0 is none."""

    cpu_shares: int = 0
    cpu_quota: int = 0
    memory: int = 0
    pids: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu_ns` since the group began; memory in bytes: in use, without reclaimable file pages, and anonymous."""

    cpu_ns: int = 0
    memory: int = 0
    working_set: int = 0
    rss: int = 0


def shares(milli_cpu: int) -> int:
    """CPU shares for a request in thousandths of a core, as upstream rounds them."""
    return MIN_SHARES if milli_cpu <= 0 else max(MIN_SHARES, min(MAX_SHARES, milli_cpu * 1024 // 1000))


def quota(milli_cpu: int) -> int:
    """CPU quota in microseconds each period for a limit in thousandths of a core; 0 is no limit."""
    return 0 if milli_cpu <= 0 else max(1000, milli_cpu * PERIOD_USEC // 1000)


def weight(cpu_shares: int) -> int:
    """v2's cpu.weight (1..10000) for v1's shares (2..262144)."""
    return 1 + (cpu_shares - 2) * 9999 // 262_142


def unified(root: Path = _ROOT) -> bool:
    """Whether the machine runs v2 only."""
    return (root / "cgroup.controllers").exists()


def pod_path(cluster_root: str, qos: str, uid: str) -> str:
    """A pod's group: `qos` is Guaranteed, Burstable or BestEffort."""
    middle = "" if qos == "Guaranteed" else f"/{qos.lower()}"
    return f"{cluster_root}/kubepods{middle}/pod{uid}"


class Cgroups:
    """The groups below one cluster root, such as `/tiphys-demo-n1`."""

    def __init__(self, cluster_root: str, mount: Path = _ROOT) -> None:
        if not cluster_root.startswith("/") or cluster_root.strip("/") == "":
            raise ValueError(f"cgroup root {cluster_root!r}: must be an absolute path below the top")
        self.root = cluster_root.rstrip("/")
        self._mount = mount
        self.v2 = unified(mount)

    def _places(self, path: str, every: bool = False) -> Iterator[Path]:
        """The directories of a group: one on v2, one for each controller on v1."""
        if self.v2:
            yield self._mount / path.strip("/")
            return
        names = sorted(os.listdir(self._mount)) if every else _V1_CONTROLLERS
        seen: set[tuple[int, int]] = set()
        for name in names:
            top = self._mount / name
            # Co-mounted controllers (cpu,cpuacct) appear under several names.
            if top.is_dir() and (inode := (top.stat().st_dev, top.stat().st_ino)) not in seen:
                seen.add(inode)
                yield top / path.strip("/")

    def create(self, path: str, limits: Limits | None = None) -> None:
        """Make a group and its parents, and set limits."""
        for place in self._places(path):
            place.mkdir(parents=True, exist_ok=True)
            self._delegate(place)
            self._inherit_cpuset(place)
        if limits is not None:
            self.limit(path, limits)

    def _delegate(self, place: Path) -> None:
        """v2: hand controllers down from the top to the group's parent."""
        if not self.v2:
            return
        for above in reversed(list(place.relative_to(self._mount).parents)):
            _write(self._mount / above / "cgroup.subtree_control", "+cpu +memory +pids +cpuset")

    def _inherit_cpuset(self, place: Path) -> None:
        """v1: a new cpuset group is empty, and empty groups take no process."""
        if self.v2 or "cpuset" not in place.relative_to(self._mount).parts[0]:
            return
        above = list(reversed(place.relative_to(self._mount).parents))[2:]
        for group in [*(self._mount / part for part in above), place]:
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not _read(group / name):
                    _write(group / name, _read(group.parent / name))

    def limit(self, path: str, limits: Limits) -> None:
        """Set a group's limits; 0 leaves (v1: lifts) that limit."""
        if self.v2:
            place = self._mount / path.strip("/")
            if limits.cpu_shares:
                _write(place / "cpu.weight", str(weight(limits.cpu_shares)))
            _write(place / "cpu.max", f"{limits.cpu_quota or 'max'} {PERIOD_USEC}")
            _write(place / "memory.max", str(limits.memory or "max"))
            _write(place / "pids.max", str(limits.pids or "max"))
            return
        tail = path.strip("/")
        if limits.cpu_shares:
            _write(self._mount / "cpu" / tail / "cpu.shares", str(limits.cpu_shares))
        _write(self._mount / "cpu" / tail / "cpu.cfs_quota_us", str(limits.cpu_quota or -1))
        _write(self._mount / "memory" / tail / "memory.limit_in_bytes", str(limits.memory or -1))
        _write(self._mount / "pids" / tail / "pids.max", str(limits.pids or "max"))

    def usage(self, path: str) -> Usage:
        """What a group and those below it use now; zeros where it does not exist."""
        mount, tail = self._mount, path.strip("/")
        if self.v2:
            used, memory = _number(f"{mount}/{tail}/memory.current"), _table(f"{mount}/{tail}/memory.stat")
            cpu_ns = _table(f"{mount}/{tail}/cpu.stat").get("usage_usec", 0) * 1000
            return Usage(cpu_ns, used, max(0, used - memory.get("inactive_file", 0)), memory.get("anon", 0))
        place = f"{mount}/memory/{tail}"
        used, memory = _number(f"{place}/memory.usage_in_bytes"), _table(f"{place}/memory.stat")
        working_set = max(0, used - memory.get("total_inactive_file", 0))
        return Usage(_number(f"{mount}/cpuacct/{tail}/cpuacct.usage"), used, working_set, memory.get("total_rss", 0))

    def pods(self) -> dict[str, str]:
        """The pod groups that exist: uid to path."""
        found: dict[str, str] = {}
        top = next(self._places(self.root))
        for middle in ("kubepods", "kubepods/burstable", "kubepods/besteffort"):
            try:
                names = os.listdir(top / middle)
            except FileNotFoundError:
                continue
            found |= {name[3:]: f"{self.root}/{middle}/{name}" for name in names if name.startswith("pod")}
        return found

    def processes(self, path: str) -> set[int]:
        """The pids in a group and below."""
        found: set[int] = set()
        for place in self._places(path, every=True):
            for directory, _, files in os.walk(place):
                if "cgroup.procs" in files:
                    found |= {int(word) for word in _read(Path(directory, "cgroup.procs")).split()}
        return found

    def kill(self, path: str) -> None:
        """SIGKILL every process in a group and below."""
        for pid in self.processes(path):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def remove(self, path: str) -> bool:
        """Remove a group and those below it; False while processes are still in it."""
        for place in self._places(path, every=True):
            for directory, _, _ in os.walk(place, topdown=False):
                try:
                    os.rmdir(directory)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if error.errno == errno.EBUSY:
                        return False
                    raise
        return True


def _write(path: Path, value: str) -> None:
    """Write one knob. Knobs of controllers that this machine lacks are skipped: the kernel has nothing to limit."""
    try:
        path.write_text(value)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL) or path.name != "cgroup.subtree_control":
            raise OSError(error.errno, f"cannot set to {value!r}: {error.strerror}", str(path)) from error


def _read(path: Path | str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        # The group was removed between opening and reading.
        if error.errno == errno.ENODEV:
            return ""
        raise


def _number(path: str) -> int:
    text = _read(path)
    return int(text) if text.isdigit() else 0


def _table(path: str) -> dict[str, int]:
    rows = (line.split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}
