"""What the tests on a real cluster work with: the cluster, an image made here, waiting, and what may not be left."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TIPHYS = Path(sys.executable).with_name("tiphys")
IMAGE = "tiphys-test-web:1"
_DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
COPY start /bin/start
COPY tmp /tmp
{links}
ENV PATH=/bin
CMD ["/bin/busybox", "sh", "/bin/start"]
"""
_START = """\
busybox mkdir -p /www
echo "$VERSION $(busybox hostname)" > /www/index.html
busybox httpd -f -p 80 -h /www &
trap 'kill $!; exit 0' TERM
echo ready
wait
"""
_APPLETS = (
    "sh",
    "cat",
    "echo",
    "hostname",
    "sleep",
    "wget",
    "nslookup",
    "tar",
    "head",
    "ls",
    "touch",
    "test",
    "stty",
    "id",
    "env",
)


@dataclass(frozen=True)
class RealCluster:
    """`kubectl` runs the machine's own kubectl; both raise CalledProcessError with what was said."""

    name: str
    kubeconfig: Path

    def kubectl(self, *words: str, stdin: str = "", check: bool = True, timeout: float = 60) -> str:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            ["kubectl", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def tiphys(self, *words: str, timeout: float = 120) -> str:
        done = subprocess.run([TIPHYS, *words], capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode:
            raise AssertionError(f"tiphys {' '.join(words)}: {done.stderr or done.stdout}")
        return done.stdout

    def pid(self, role: str) -> int:
        return int(Path(f"/run/tiphys/{self.name}/{role}.pid").read_text().split()[0])


def until(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """The first true answer of `condition`, asked again until the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not in {seconds:g} s: {what}"
        time.sleep(0.05)


def build_image(cluster: RealCluster, directory: Path, name: str = IMAGE) -> None:
    shutil.copy("/bin/busybox", directory / "busybox")
    (directory / "start").write_text(_START)
    (directory / "tmp").mkdir(exist_ok=True)
    (directory / "tmp" / ".keep").touch()
    links = "\n".join(f"COPY busybox /bin/{applet}" for applet in _APPLETS)
    (directory / "Dockerfile").write_text(_DOCKERFILE.format(links=links))
    cluster.tiphys("image", "--cluster", cluster.name, "build", str(directory), "-t", name)


@contextmanager
def started(prefix: str, *words: str, image: Path | None = None) -> Iterator[RealCluster]:
    """A cluster that `tiphys up NAME words...` makes, with our image in it if a directory is given to build it in."""
    if os.geteuid() != 0:
        pytest.skip("a real cluster needs root")
    name = f"{prefix}-{secrets.token_hex(3)}"
    made = RealCluster(name, Path(f"/etc/tiphys/{name}.kubeconfig"))
    try:
        made.tiphys("up", name, *words)
        if image is not None:
            build_image(made, image)
        yield made
    finally:
        subprocess.run([TIPHYS, "down", name, "--purge"], check=False, timeout=120)
    assert leftovers(name) == []


def leftovers(name: str) -> list[str]:
    """What a cluster of this name has on this machine."""
    from tiphys.main.node_settings import link_name
    from tiphys.node.cni import bridge_name

    tail = link_name("", name).partition("-")[2]
    assert bridge_name(name).endswith(tail)
    found = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/tiphys-{name}")]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"tiphys/{name}/" in line]
    found += [str(path) for path in (Path(f"/run/tiphys/{name}"), Path(f"/var/lib/tiphys/{name}")) if path.exists()]
    found += [path.name for path in Path("/sys/class/net").iterdir() if path.name.endswith(f"-{tail}")]
    found += [str(path) for path in Path("/run/netns").glob(f"tiphys-{name}-*")]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    found += [line for line in tables.splitlines() if f"tiphys-{name}" in line]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(f"/tiphys/{name}/" in word for word in words) or ("--cluster" in words and name in words):
            found.append(" ".join(words))
    return found
