"""A zone over Services and slices, and packets made and read by hand, for the tests of DNS."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from tiphys.base.clock import VirtualClock
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.dns.zone import Zone
from tiphys.kinds.core.service import SERVICES
from tiphys.kinds.discovery.endpointslice import ENDPOINT_SLICES

Json = dict[str, Any]
DOMAIN = "cluster.local"


class _Lists:
    """A server that has these objects, and in which nothing changes."""

    def __init__(self, services: list[Json], slices: list[Json]) -> None:
        self._items = {"services": services, "endpointslices": slices}

    async def send(self, method: str, path: str, **_: Any) -> bytes:
        items = self._items[path.rsplit("/", 1)[1]]
        return orjson.dumps({"metadata": {"resourceVersion": "1"}, "items": items})

    @asynccontextmanager
    async def stream(self, path: str, **_: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async def nothing() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        yield nothing()

    async def close(self) -> None: ...


async def zone_of(services: list[Json], slices: list[Json], *, synced: bool = True) -> Zone:
    client = Client(_Lists(services, slices), manager="test")  # type: ignore[arg-type]
    informers = [Informer(client, kind, clock=VirtualClock()) for kind in (SERVICES, ENDPOINT_SLICES)]
    zone = Zone(DOMAIN, *informers)
    for informer in informers if synced else ():
        task = asyncio.ensure_future(informer.run())
        await informer.synced.wait()
        task.cancel()
    return zone


def service(name: str, ip: str = "None", **spec: Any) -> Json:
    spec = {"clusterIP": ip, "clusterIPs": [ip] if ip else [], **spec}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def slice_of(name: str, *endpoints: Json, kind: str = "IPv4", ports: list[Json] | None = None) -> Json:
    labels = {"kubernetes.io/service-name": name}
    meta = {"name": f"{name}-{kind}", "namespace": "default", "labels": labels, "resourceVersion": "1"}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}] if ports is None else ports
    return {"metadata": meta, "addressType": kind, "endpoints": list(endpoints), "ports": ports}


def endpoint(address: str, hostname: str = "", **conditions: bool) -> Json:
    return {"addresses": [address], "hostname": hostname, "conditions": conditions}


def name_bytes(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def packet(name: str, kind: int = 1, *, number: int = 7, size: int = 0, flags: int = 0x0100, class_: int = 1) -> bytes:
    """A query; `size` is what an EDNS client takes over UDP, 0 for a client without EDNS."""
    extra = b"\0" + struct.pack("!HHIH", 41, size, 0, 0) if size else b""
    header = struct.pack("!6H", number, flags, 1, 0, 0, 1 if size else 0)
    return header + name_bytes(name) + struct.pack("!HH", kind, class_) + extra


def reply_to(message: bytes, *addresses: str, ttl: int = 300, code: int = 0, truncated: bool = False) -> bytes:
    """What a server outside would answer, with names that point to the question's."""
    number = int.from_bytes(message[:2], "big")
    end = message.index(b"\0", 12) + 5
    header = struct.pack("!6H", number, 0x8180 | code | (0x0200 if truncated else 0), 1, len(addresses), 0, 0)
    records = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, ttl, 4) + ipaddress.IPv4Address(each).packed for each in addresses
    )
    return header + message[12:end] + records


class Reply:
    """The header of a reply: `code`, `truncated`, `authoritative`, the counts of its sections."""

    def __init__(self, data: bytes) -> None:
        self.number, flags, self.questions, self.answers, self.authority, self.extra = struct.unpack_from("!6H", data)
        self.code = flags & 15
        self.truncated, self.authoritative, self.response = bool(flags & 0x200), bool(flags & 0x400), bool(flags >> 15)
