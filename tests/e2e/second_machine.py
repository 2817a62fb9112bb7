"""A second machine: namespaces with an address, a name, an ID and places of their own, in which `tiphys` is run."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from real_cluster import TIPHYS

_PLACES = ("/var/lib/tiphys", "/run/tiphys", "/etc/tiphys")
_INIT = """\
set -e
mount --make-rprivate /
base=$1; name=$2; shift 2
for place in "$@"; do mkdir -p "$base$place"; mount --bind "$base$place" "$place"; done
mount --bind "$base/machine-id" /etc/machine-id
hostname "$name"
echo ready
exec sleep infinity
"""


@dataclass(frozen=True)
class Machine:
    """`address` is where the first machine reaches it; `cluster` what the cluster is called there."""

    name: str
    address: str
    init: int
    base: Path
    cluster: str

    def command(self, words: Sequence[str | Path]) -> list[str]:
        return ["nsenter", "-t", str(self.init), "-m", "-u", "-n", "--", *map(str, words)]

    def tiphys(self, *words: str, check: bool = True, timeout: float = 120) -> str:
        done = subprocess.run(
            self.command([TIPHYS, *words]), capture_output=True, text=True, timeout=timeout, check=False,
            env={**os.environ, "HOME": str(self.base)},
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"tiphys {' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout + done.stderr

    @contextmanager
    def process(self, role: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """`tiphys agent` or `tiphys server` in the foreground; ended in order."""
        with open(self.base / f"{role}.log", "ab") as log:
            process = subprocess.Popen(
                self.command([TIPHYS, role, "--cluster", self.cluster, *words]), stdout=log, stderr=log,
                env={**os.environ, "HOME": str(self.base)},
            )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@contextmanager
def second_machine(base: Path) -> Iterator[Machine]:
    tag = secrets.token_hex(2)
    space, plug = f"join-{tag}", f"join{tag}"
    network = f"198.18.{int(tag[:2], 16)}"
    (base / "machine-id").write_text(secrets.token_hex(16) + "\n")
    for place in _PLACES:
        Path(place).mkdir(parents=True, exist_ok=True)
    run("ip", "netns", "add", space)
    try:
        run("ip", "link", "add", plug, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "addr", "add", f"{network}.1/24", "dev", plug)
        run("ip", "link", "set", plug, "up")
        for words in (["link", "set", "lo", "up"], ["addr", "add", f"{network}.2/24", "dev", "eth0"],
                      ["link", "set", "eth0", "up"], ["route", "add", "default", "via", f"{network}.1"]):  # fmt: skip
            run("ip", "-n", space, *words)
        name = f"machine-{tag}"
        init = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{space}", "unshare", "--mount", "--uts", "sh", "-c", _INIT, "sh", base, name,
             *_PLACES],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert init.stdout is not None
            assert init.stdout.readline() == b"ready\n"
            made = Machine(name, f"{network}.2", init.pid, base, f"far-{tag}")
            try:
                yield made
            finally:
                made.tiphys("down", made.cluster, "--purge", check=False)
        finally:
            init.kill()
            init.wait()
    finally:
        run("ip", "netns", "del", space)
