"""The API servers that an agent knows of: those it was told at its start, and those that the cluster says are there.

They are kept in a file, so that an agent that starts again finds servers that were not there when its node was made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from tiphys.client.http import Https
from tiphys.client.informer import Informer
from tiphys.kinds.discovery.endpointslice import EndpointSlice
from tiphys.main.cluster import write_private
from tiphys.main.node_settings import NodeSettings

_SERVICE = "default/kubernetes"


def load(node: NodeSettings) -> list[str]:
    """URLs, those that were told first."""
    try:
        found = msgspec.json.decode((node.state / "servers.json").read_bytes(), type=list[str])
    except FileNotFoundError:
        found = []
    return list(dict.fromkeys([*node.servers, *found]))


class KnownServers:
    """Follows the slice of the `kubernetes` Service; run `run` under a supervisor."""

    def __init__(self, node: NodeSettings, transport: Https, slices: Informer[EndpointSlice]) -> None:
        self._node, self._transport = node, transport
        self._wanted: Sequence[str] = ()
        self._changed = asyncio.Event()
        slices.add_handler(self._seen)

    def _seen(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        if new is None or f"{new.metadata.namespace}/{new.metadata.name}" != _SERVICE or not new.ports:
            return
        addresses = [address for endpoint in new.endpoints for address in endpoint.addresses]
        self._wanted = [f"https://{address}:{new.ports[0].port}" for address in addresses]
        self._changed.set()

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            # Who was told stays: it may only be away, and may be the way that works from here.
            servers = list(dict.fromkeys([*self._node.servers, *self._wanted]))
            await self._transport.use(servers)
            if servers != load(self._node):
                data = msgspec.json.encode(list(self._wanted))
                await asyncio.to_thread(write_private, self._node.state / "servers.json", data)
