"""What Prometheus' own clients say of a process: CPU, memory, open files, start. Read at a scrape, never before."""

from __future__ import annotations

import os
from pathlib import Path

from tiphys.base.metrics import Gauge

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def _stat() -> list[str]:
    # The name of the program may hold blanks; it ends at the last bracket.
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()


def _boot() -> float:
    lines = Path("/proc/stat").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("btime "))


def install() -> None:
    """Register the metrics of this process."""
    cpu = Gauge("process_cpu_seconds_total", "User and system CPU time, seconds.")
    cpu.kind = "counter"
    cpu.read_with(lambda: sum(int(field) for field in _stat()[11:13]) / _TICKS)
    started = int(_stat()[19]) / _TICKS + _boot()
    Gauge("process_start_time_seconds", "When the process started, unix seconds.").read_with(lambda: started)
    Gauge("process_resident_memory_bytes", "Resident memory.").read_with(lambda: float(_stat()[21]) * _PAGE)
    Gauge("process_open_fds", "Open file descriptors.").read_with(lambda: float(len(os.listdir("/proc/self/fd"))))
