"""The etcd of a cluster that keeps its state there: one process on loopback, which only our server's certificate opens.

The distribution's `etcd-server`, 3.4 or newer. It outlives the server as containers do; `tiphys up` starts it again.
Source: https://etcd.io/docs/v3.4/op-guide/configuration/
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tiphys.base.backoff import Backoff
from tiphys.main.cluster import Cluster, ClusterError, Settings
from tiphys.main.pki import Leaf, Pki

if TYPE_CHECKING:
    from tiphys.store.etcd import EtcdStore

CA, SERVER, CLIENT = "etcd-ca", "etcd-server", "etcd-client"
# Of its own CA: whoever may talk to the API may not talk to its store.
LEAVES = {SERVER: Leaf("etcd", names=("127.0.0.1", "localhost")), CLIENT: Leaf("tiphys-server")}
_START_SECONDS = 30.0
_QUOTA = 8 * 2**30


def start(cluster: Cluster, settings: Settings) -> None:
    """Start it unless it runs."""
    from tiphys.node import process

    pidfile = cluster.pidfile("etcd")
    if process.load(pidfile) is None:
        process.spawn(_command(cluster, settings), cluster.logs / "etcd.log").save(pidfile)


def _command(cluster: Cluster, settings: Settings) -> list[str]:
    pki = Pki(cluster.pki)
    client, peer = (f"https://127.0.0.1:{port}" for port in (settings.etcd_port, settings.etcd_port + 1))
    files = {
        "cert-file": pki.certificate(SERVER), "key-file": pki.key(SERVER), "trusted-ca-file": pki.certificate(CA),
        "peer-cert-file": pki.certificate(SERVER), "peer-key-file": pki.key(SERVER),
        "peer-trusted-ca-file": pki.certificate(CA),
    }  # fmt: skip
    return [
        "etcd", "--name", settings.node, "--data-dir", str(cluster.etcd),
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"{settings.node}={peer}", "--initial-cluster-token", cluster.name,
        "--client-cert-auth", "--peer-client-cert-auth", *(f"--{flag}={path}" for flag, path in files.items()),
        "--logger", "zap", "--log-level", "warn", "--quota-backend-bytes", str(_QUOTA),
    ]  # fmt: skip


async def open_store(cluster: Cluster, settings: Settings) -> EtcdStore:
    """Connect, once it answers. Raises ClusterError if that takes too long."""
    from tiphys.store import Unavailable
    from tiphys.store.etcd import EtcdStore

    tls = Pki(cluster.pki).client_tls(CLIENT, CA)
    # What gRPC speaks, and its library insists on.
    tls.set_alpn_protocols(["h2"])
    backoff, failures, last = Backoff(0.02, 0.5), 0, ""
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    return await EtcdStore.open([f"127.0.0.1:{settings.etcd_port}"], tls)
                except Unavailable as error:
                    last = error.reason
                    await asyncio.sleep(backoff.delay(failures))
                    failures += 1
    except TimeoutError:
        raise ClusterError(
            f"etcd did not answer in {_START_SECONDS:.0f} s ({last}); see {cluster.logs}/etcd.log"
        ) from None
