"""What a machine must know of a cluster that it joins: published as the ConfigMap `tiphys-cluster` in kube-system.

Nodes and bearers of bootstrap tokens may read it; nothing in it is secret.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from tiphys.api.errors import AlreadyExists, NotFound
from tiphys.client.transport import Transport
from tiphys.main.cluster import Cluster, ClusterError, Settings
from tiphys.main.node_settings import node_of

NAME = "tiphys-cluster"
_COLLECTION, _FIELD = "/api/v1/namespaces/kube-system/configmaps", "cluster.json"


class ClusterFacts(msgspec.Struct, frozen=True):
    """`index` is the number that the cluster's networks, VNI and ports follow from; `servers` are URLs."""

    name: str
    index: int
    pods: str
    services: str
    dns: str
    servers: list[str]
    api_port: int
    kubelet_port: int
    vni: int
    tunnel_port: int
    store: str = "sqlite"
    etcd_port: int = 0
    virtual_address: str = ""
    domain: str = "cluster.local"


def facts_of(settings: Settings, servers: Sequence[str]) -> ClusterFacts:
    node = node_of(Cluster(settings.name), settings, 1)
    return ClusterFacts(
        settings.name, settings.index, str(settings.pods), str(settings.services), settings.dns, list(servers),
        settings.api_port, settings.kubelet_port, node.vni, node.tunnel_port, settings.store, settings.etcd_port,
        settings.virtual_address,
    )  # fmt: skip


async def publish_cluster(transport: Transport, settings: Settings, servers: Sequence[str]) -> None:
    """Say what this cluster is and at which URLs other machines reach it. `transport` must be a superuser's."""
    data = {_FIELD: msgspec.json.encode(facts_of(settings, servers)).decode()}
    body = orjson.dumps({"metadata": {"name": NAME}, "data": data})
    try:
        await transport.send("PUT", f"{_COLLECTION}/{NAME}", body=body)
    except NotFound:
        try:
            await transport.send("POST", _COLLECTION, body=body)
        except AlreadyExists:
            # Another server was as quick, and says the same.
            return


async def read_cluster(transport: Transport) -> ClusterFacts:
    """Raises ClusterError where nothing is published, and what the transport raises."""
    try:
        found = orjson.loads(await transport.send("GET", f"{_COLLECTION}/{NAME}"))
        return decode(found["data"][_FIELD].encode())
    except (NotFound, KeyError):
        raise ClusterError(
            f"the cluster does not say what its networks are (ConfigMap kube-system/{NAME}); its servers must be of a "
            "version that machines can join: upgrade them, or start them again"
        ) from None


def decode(data: bytes) -> ClusterFacts:
    """Raises ClusterError for what another version wrote that this one cannot read."""
    try:
        return msgspec.json.decode(data, type=ClusterFacts)
    except msgspec.MsgspecError as error:
        raise ClusterError(
            f"the cluster's facts cannot be read ({error}); install its servers' version here"
        ) from error
