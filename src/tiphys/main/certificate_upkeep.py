"""What a server runs so that certificates stay good: tasks by name, for its supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tiphys.base.clock import Clock
from tiphys.client.client import Client
from tiphys.client.transport import Transport
from tiphys.controllers.authority import Authority
from tiphys.main import kubeconfig
from tiphys.main.cluster import Cluster, Settings, machine_locked
from tiphys.main.leaf import leaf_of
from tiphys.main.pki import FRONT_PROXY, Pki
from tiphys.main.renewal import Renewal
from tiphys.main.rotation import Rotation
from tiphys.server import control_plane_bundle
from tiphys.server.aggregation.client import AggregationClient
from tiphys.server.app import ApiServer
from tiphys.server.bootstrap import publish_authentication
from tiphys.server.bootstrap_tokens import BootstrapTokens
from tiphys.server.cache import Cache

Tasks = dict[str, Callable[[], Awaitable[None]]]


def authority(pki: Pki) -> Authority:
    """The CA for controllers, as its files are now; it signs where the key is on this machine."""
    return Authority(*_parts(pki))


def _parts(pki: Pki) -> tuple[str, bytes, list[str]]:
    signs = "ca" in pki.issuers()
    names = list(leaf_of(pki.read("server")).names)
    return pki.ca.read_text(), pki.key("ca").read_bytes() if signs else b"", names


def server_tasks(
    cluster: Cluster, settings: Settings, transport: Transport, aggregation: AggregationClient, ca: Authority,
    clock: Clock,
) -> Tasks:  # fmt: skip
    """Of a server; `transport` is a superuser's, `ca` what the controllers were given."""
    pki = Pki(cluster.pki)

    async def changed() -> None:
        aggregation.reload()
        bundle, key, names = await asyncio.to_thread(_parts, pki)
        ca.replace(bundle, key, names)
        await publish_authentication(
            transport, bundle, await asyncio.to_thread(pki.front_proxy_ca.read_text), FRONT_PROXY
        )
        await asyncio.to_thread(_write_kubeconfig, cluster, settings)

    return {
        "certificates": Renewal(pki, clock, signs=True, changed=changed).run,
        "CA rotation": Rotation(pki, Client(transport, manager="tiphys"), clock).run,
    }


def install_joining(server: ApiServer, cache: Cache, pki: Pki, clock: Clock) -> None:
    """Serve what machines need that become control planes."""
    control_plane_bundle.install(server, BootstrapTokens(cache, clock), lambda: asyncio.to_thread(pki.shared))


def _write_kubeconfig(cluster: Cluster, settings: Settings) -> None:
    """The administrator's, and the one in the home of whoever started the cluster."""
    if not Pki(cluster.pki).certificate("admin").exists():
        return
    # The other servers of the cluster on this machine are about to do the same.
    with machine_locked():
        kubeconfig.write(cluster, settings)
        kubeconfig.merge_into_home(cluster, settings)
