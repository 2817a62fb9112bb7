"""`tiphys store migrate --to etcd`: a running cluster's state moved from SQLite to etcd, without losing an object.

The server is away meanwhile; agents and pods go on. Until the settings are switched, any failure leads back to SQLite.
"""

from __future__ import annotations

from tiphys.base.clock import SystemClock
from tiphys.main import etcd
from tiphys.main.cluster import Cluster, Settings
from tiphys.main.node_settings import nodes_of
from tiphys.main.pki import Pki
from tiphys.store.etcd import EtcdStore


async def start_etcd(cluster: Cluster, settings: Settings) -> EtcdStore:
    """Start a new etcd of one member, the first control plane's, and connect to it."""
    first = nodes_of(cluster, settings)[0]
    Pki(cluster.pki).ensure(cluster.name, {}, {etcd.CA: etcd.leaves([first.address])})
    etcd.plan([first])
    member = etcd.Etcd(first, SystemClock())
    member.start()
    return await member.open_store()
