"""A private containerd in a temporary directory, with a busybox image, for tests that need the real runtime."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tiphys.node import cni, links, oci
from tiphys.node.cgroups import Cgroups
from tiphys.node.containerd import Containerd, ContainerdConfig
from tiphys.node.images import Images

BUSYBOX = "busybox:1"


@dataclass(frozen=True)
class Machine:
    base: Path
    containerd: Containerd
    network: cni.PodNetwork
    cgroups: Cgroups


def busybox() -> oci.Image:
    """An image around this machine's static busybox, with a link for every applet."""
    binary = shutil.which("busybox")
    assert binary, "install busybox-static"
    applets = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    links_ = {f"bin/{name}": "busybox" for name in applets if name != "busybox"}
    files = {"bin/busybox": Path(binary).read_bytes()}
    return oci.simple({"Cmd": ["sh"], "Env": ["PATH=/bin"]}, oci.layer(files, links_, ["tmp", "etc", "proc", "root"]))


@asynccontextmanager
async def machine(base: Path) -> AsyncIterator[Machine]:
    """Start it, and remove every trace of it afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    config = ContainerdConfig(base / "root", base / "state", base / "cni", f"/tiphys-{name}")
    containerd = Containerd(config)
    octet = os.getpid() % 200 + 20
    network = cni.PodNetwork(name, [f"10.{octet}.7.0/24"])
    cni.write(network, base / "cni", base / "ipam")
    try:
        await containerd.ensure()
        images = Images(containerd.endpoint)
        try:
            await images.ensure_pause()
            await images.store(BUSYBOX, busybox())
        finally:
            images.close()
        yield Machine(base, containerd, network, Cgroups(config.cgroup_root))
    finally:
        await containerd.destroy()
        await links.delete(network.bridge)
