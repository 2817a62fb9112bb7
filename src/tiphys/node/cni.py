"""The pod network's configuration for the CNI reference plugins: loopback is the runtime's, bridge and ports ours.

https://www.cni.dev/plugins/current/ ; https://github.com/containernetworking/cni/blob/main/SPEC.md
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

_FILE = "10-tiphys.conflist"
_PLACES = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
_NEEDED = ("bridge", "host-local", "loopback", "portmap")


class CniError(Exception):
    """The plugins are missing or the configuration cannot be written."""


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """`pod_cidrs`: one range per address family; `mtu` 0 leaves it to the kernel."""

    cluster: str
    pod_cidrs: Sequence[str]
    mtu: int = 0
    # Pods reach the world through the node's address unless the service proxy does the masquerading itself.
    masquerade: bool = False

    @property
    def bridge(self) -> str:
        return bridge_name(self.cluster)


def bridge_name(cluster: str) -> str:
    """The bridge of one cluster's node: short enough for an interface name (15 bytes), one for each cluster."""
    return f"tph-{hashlib.sha256(cluster.encode()).hexdigest()[:8]}"


def plugin_directory() -> str:
    """Where the reference plugins are installed. Raises CniError that says what to install."""
    for place in (os.environ.get("CNI_PATH", ""), *_PLACES):
        if place and all(os.access(f"{place}/{name}", os.X_OK) for name in _NEEDED):
            return place
    raise CniError(f"CNI plugins {', '.join(_NEEDED)} not found in {', '.join(_PLACES)}: "
                   "install containernetworking-plugins")  # fmt: skip


def conflist(network: PodNetwork, data_directory: str) -> dict[str, Any]:
    """The configuration list: a bridge with host-local addresses, then host ports."""
    routes = [{"dst": "::/0" if ":" in cidr else "0.0.0.0/0"} for cidr in network.pod_cidrs]
    bridge: dict[str, Any] = {
        "type": "bridge", "bridge": network.bridge, "isGateway": True, "ipMasq": network.masquerade,
        "hairpinMode": True, "forceAddress": True,
        "ipam": {
            "type": "host-local", "dataDir": data_directory, "routes": routes,
            "ranges": [[{"subnet": cidr}] for cidr in network.pod_cidrs],
        },
    }  # fmt: skip
    if network.mtu:
        bridge["mtu"] = network.mtu
    ports = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return {"cniVersion": "0.4.0", "name": network.bridge, "plugins": [bridge, ports]}


def write(network: PodNetwork, directory: Path, data_directory: Path) -> bool:
    """Write the conflist atomically; whether it changed. The runtime notices by itself."""
    body = orjson.dumps(conflist(network, str(data_directory)), option=orjson.OPT_INDENT_2)
    target = directory / _FILE
    directory.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.read_bytes() == body:
        return False
    temporary = target.with_suffix(".new")
    temporary.write_bytes(body)
    temporary.replace(target)
    return True


def remove(directory: Path) -> None:
    (directory / _FILE).unlink(missing_ok=True)
