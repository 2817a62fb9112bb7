"""Pods as policies see them: labels, addresses and named ports, and nothing else, for there may be many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from tiphys.api.meta import Key, Model, Uid
from tiphys.api.resource import ResourceType
from tiphys.kinds.core.container import ContainerPort
from tiphys.kinds.core.pod import FINISHED, PODS, Pod, PodIp


class PeerMeta(Model):
    name: str = ""
    namespace: str = ""
    uid: Uid = Uid("")
    resource_version: str = ""
    labels: dict[str, str] = {}

    @property
    def key(self) -> Key:
        return Key(f"{self.namespace}/{self.name}")

    @property
    def revision(self) -> int:
        return int(self.resource_version or 0)


class PeerContainer(Model):
    ports: list[ContainerPort] = []


class PeerSpec(Model):
    node_name: str = ""
    host_network: bool = False
    containers: list[PeerContainer] = []
    init_containers: list[PeerContainer] = []


class PeerStatus(Model):
    phase: str = ""
    pod_ips: list[PodIp] = []


class Peer(Model):
    metadata: PeerMeta = PeerMeta()
    spec: PeerSpec = PeerSpec()
    status: PeerStatus = PeerStatus()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The IPv4 addresses that are the pod's own, as long as it uses them."""
        if self.spec.host_network or self.status.phase in FINISHED:
            return ()
        return tuple(found.ip for found in self.status.pod_ips if ":" not in found.ip)

    def ports(self, name: str, protocol: str) -> list[int]:
        """The numbers of the container ports with this name."""
        every = (*self.spec.containers, *self.spec.init_containers)
        return [
            port.container_port
            for container in every
            for port in container.ports
            if port.name == name and port.protocol == protocol
        ]

    @property
    def facts(self) -> tuple[object, ...]:
        """What policies can see of it."""
        return self.metadata.namespace, self.metadata.labels, self.spec, self.addresses


PEERS: ResourceType[Peer] = replace(PODS, model=Peer)


def peer_of(pod: Pod, addresses: Sequence[str]) -> Peer:
    """A pod that the API does not know the addresses of yet."""
    status = PeerStatus(pod.status.phase, [PodIp(address) for address in addresses])
    return msgspec.structs.replace(msgspec.convert(msgspec.to_builtins(pod), Peer), status=status)
