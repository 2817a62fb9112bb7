"""`tiphys service`: a systemd unit by which a cluster starts with the machine, is kept running, and ends in order.

The unit runs `tiphys keep`. systemd ends that process alone (KillMode=process): agents, servers and containers are the
keeper's, and containers outlive them all until the machine goes down.
Source: https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tiphys.main.cluster import DEFAULT_NAME, Cluster, ClusterError
from tiphys.main.progress import Progress

_UNITS, _BOOTED = Path("/etc/systemd/system"), Path("/run/systemd/system")
_STATES_OF_AN_END = ("stopping", "offline")


def service(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("tiphys service", description="Have systemd start a cluster with the machine.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("install", "write the unit, enable and start it"), ("remove", "take the unit away; containers stay"),
        ("show", "print the unit, for other ways to install it"),
    ):  # fmt: skip
        made = verbs.add_parser(verb, help=text)
        made.add_argument("name", nargs="?", default=DEFAULT_NAME, help="the cluster (default: %(default)s)")
    options = parser.parse_args(arguments)
    progress = Progress()
    try:
        cluster = Cluster(options.name)
        if options.verb == "show":
            print(unit(cluster.name, program()), end="")
            return 0
        if os.geteuid() != 0:
            raise ClusterError("`tiphys service` needs root; run it with sudo")
        if options.verb == "install":
            install(cluster)
            progress.done(f"{_file(cluster.name).name} starts cluster {cluster.name} with the machine")
        elif remove(cluster):
            progress.done(f"{_file(cluster.name).name} is gone; `tiphys up {cluster.name}` starts what it ended")
        else:
            progress.done(f"cluster {cluster.name} has no unit")
    except (ClusterError, OSError) as error:
        progress.fail(str(error))
        return 1
    return 0


def install(cluster: Cluster) -> None:
    """Raises ClusterError where there is no systemd, or where it refuses."""
    if not _BOOTED.is_dir():
        raise ClusterError(
            f"systemd does not run this machine; have its init run `{program()} keep {cluster.name}` instead"
        )
    path = _file(cluster.name)
    path.write_text(unit(cluster.name, program()))
    path.chmod(0o644)
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", path.name)


def remove(cluster: Cluster) -> bool:
    """Whether there was a unit. Its keeper has ended then, and with it agents and servers, but no container."""
    path = _file(cluster.name)
    if not path.exists():
        return False
    if _BOOTED.is_dir():
        _systemctl("disable", "--now", path.name)
    path.unlink(missing_ok=True)
    if _BOOTED.is_dir():
        _systemctl("daemon-reload")
    return True


def machine_stops() -> bool:
    """Whether systemd is taking the machine down."""
    try:
        said = subprocess.run(["systemctl", "is-system-running"], capture_output=True, text=True, check=False)  # noqa: S607
    except FileNotFoundError:
        return False
    return said.stdout.strip() in _STATES_OF_AN_END


def program() -> str:
    """The `tiphys` that is installed, by its whole path."""
    beside = Path(sys.executable).with_name("tiphys")
    found = str(beside) if beside.exists() else shutil.which("tiphys")
    if found is None:
        raise ClusterError("the tiphys command is not installed beside this Python, nor on the PATH")
    return found


def unit(name: str, command: str) -> str:
    return f"""\
[Unit]
Description=Tiphys cluster {name}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command} keep {name}
ExecStop={command} node shutdown --if-stopping {name}
KillMode=process
Restart=on-failure
RestartSec=1
TimeoutStartSec=infinity
TimeoutStopSec=120
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""


def _file(name: str) -> Path:
    return _UNITS / f"tiphys-{name}.service"


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode:
        raise ClusterError(f"`systemctl {' '.join(words)}` failed: {(done.stderr or done.stdout).strip()}")
