"""The resolver: cluster names from the zone, all else from the node's own servers, remembered for a while.

UDP and TCP on one address. Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import cast

from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter
from tiphys.dns import wire
from tiphys.dns.wire import Question, Record, WireError
from tiphys.dns.zone import Zone

_log = Log("dns")
_QUERIES = Counter("coredns_dns_requests_total", "Queries answered, by origin of the answer.", ("origin",))
_FORWARD_SECONDS = 2.0
_FORWARDS = 512
_CACHED, _CACHED_SIZE, _CACHE_SECONDS = 2048, 4096, 30.0
_HEADER_SIZE = 12
# ExternalNames that lead to one another.
_CHAIN = 8
_NEGATIVE_TTL = 5


# Asks the server of an address; true for TCP. Raises OSError or TimeoutError.
Ask = Callable[[str, bytes, bool], Awaitable[bytes]]


class Resolver:
    def __init__(self, zone: Zone, upstream: Sequence[str], clock: Clock, ask: Ask | None = None) -> None:
        """`upstream` are the addresses of the servers that other names are asked of, in this order."""
        self._zone, self._upstream, self._clock = zone, list(upstream), clock
        self._ask = ask or _ask
        self._cache: OrderedDict[tuple[bytes, bool], tuple[float, bytes]] = OrderedDict()
        self._slots = asyncio.Semaphore(_FORWARDS)

    async def resolve(self, message: bytes, *, tcp: bool = False) -> bytes:
        """The reply to a query; never raises but for cancellation."""
        try:
            question = wire.parse(message)
        except WireError:
            return wire.failure(message, wire.FORMERR)
        try:
            return await self._resolve(message, question, tcp=tcp)
        except WireError as error:
            _log.warning("no name for DNS", asked=question.name, error=str(error))
            return wire.answer(question, (), code=wire.SERVFAIL, tcp=tcp)

    async def _resolve(self, message: bytes, question: Question, *, tcp: bool) -> bytes:
        if self._zone.covers(question.name):
            _QUERIES.inc("cluster")
            return await self._ours(question, tcp=tcp)
        if question.type == wire.PTR:
            address = _reversed(question.name)
            found = self._zone.reverse(address) if address else None
            if found is not None:
                _QUERIES.inc("cluster")
                return wire.answer(question, found, tcp=tcp)
        return await self._forward(message, question, tcp=tcp)

    async def _ours(self, question: Question, *, tcp: bool) -> bytes:
        if not self._zone.synced:
            return wire.answer(question, (), code=wire.SERVFAIL, tcp=tcp)
        records = self._zone.find(question.name, question.type)
        soa = Record(self._zone.domain, wire.SOA, "", _NEGATIVE_TTL)
        if records is None:
            return wire.answer(question, (), code=wire.NXDOMAIN, soa=soa, tcp=tcp)
        if records and records[0].type == wire.CNAME and question.type != wire.CNAME:
            # In order: resolvers read the chain from its beginning.
            return wire.answer(question, await self._follow(records, question.type), soa=soa, tcp=tcp)
        random.shuffle(records)
        return wire.answer(question, records, soa=soa, tcp=tcp)

    async def _follow(self, records: list[Record], kind: int) -> list[Record]:
        """The chain from an ExternalName, to Services and out of the cluster: clients do not follow it themselves."""
        for _ in range(_CHAIN):
            if records[-1].type != wire.CNAME:
                break
            target = records[-1].data.rstrip(".").lower()
            if not self._zone.covers(target):
                return [*records, *await self._outside(target, kind)]
            found = self._zone.find(target, kind)
            if not found:
                break
            records = [*records, *found]
        return records

    async def _outside(self, name: str, kind: int) -> list[Record]:
        """What other servers say of a name, as far as it is read here."""
        try:
            message = wire.query(int.from_bytes(secrets.token_bytes(2), "big"), name, kind)
            found = wire.answers(await self._forward(message, wire.parse(message), tcp=False))
        except WireError as error:
            _log.debug("no answer that can be read", name=name, error=str(error))
            return []
        return [record for record in found if record.data]

    async def _forward(self, message: bytes, question: Question, *, tcp: bool) -> bytes:
        key = question.raw, question.edns
        known = self._cache.get(key)
        if known is not None and known[0] > self._clock.monotonic() and (tcp or len(known[1]) <= question.size):
            _QUERIES.inc("cache")
            return message[:2] + known[1][2:]
        if self._slots.locked():
            return wire.answer(question, (), code=wire.SERVFAIL, tcp=tcp)
        async with self._slots:
            for server in self._upstream:
                try:
                    async with asyncio.timeout(_FORWARD_SECONDS):
                        reply = await self._ask(server, message, tcp)
                except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                    _log.debug("upstream did not answer", server=server, error=str(error))
                    continue
                _QUERIES.inc("upstream")
                self._remember(key, reply)
                return reply
        _QUERIES.inc("failed")
        return wire.answer(question, (), code=wire.SERVFAIL, tcp=tcp)

    def _remember(self, key: tuple[bytes, bool], reply: bytes) -> None:
        """Keep a reply as long as all of it holds, and not for long."""
        if not _HEADER_SIZE <= len(reply) <= _CACHED_SIZE:
            return
        code, truncated = reply[3] & 0x0F, bool(reply[2] & 0x02)
        if code not in (wire.NOERROR, wire.NXDOMAIN) or truncated:
            return
        try:
            ttls = [record.ttl for record in wire.answers(reply)]
        except WireError:
            return
        seconds = min(_CACHE_SECONDS, *ttls) if ttls else float(_NEGATIVE_TTL)
        self._cache[key] = (self._clock.monotonic() + seconds, reply)
        self._cache.move_to_end(key)
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)


def _reversed(name: str) -> str:
    """The address that a reverse name stands for, or nothing."""
    labels = name.split(".")
    with suppress(ValueError):
        if labels[-2:] == ["in-addr", "arpa"]:
            return str(ipaddress.IPv4Address(".".join(reversed(labels[:-2]))))
        if labels[-2:] == ["ip6", "arpa"]:
            digits = labels[:-2]
            if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
                return str(ipaddress.IPv6Address(int("".join(reversed(digits)), 16)))
    return ""


class _Reply(asyncio.DatagramProtocol):
    def __init__(self, number: bytes) -> None:
        self._number = number
        self.received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if len(data) >= _HEADER_SIZE and data[:2] == self._number and not self.received.done():
            self.received.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.received.done():
            self.received.set_exception(error)


async def _ask(server: str, message: bytes, tcp: bool) -> bytes:
    return await (_ask_tcp if tcp else _ask_udp)(server, message)


async def _ask_udp(server: str, message: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    # A socket for each question: its random port is half of the protection against forged replies.
    transport, protocol = await loop.create_datagram_endpoint(lambda: _Reply(message[:2]), remote_addr=(server, 53))
    try:
        transport.sendto(message)
        return await protocol.received
    finally:
        transport.close()


async def _ask_tcp(server: str, message: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(len(message).to_bytes(2, "big") + message)
        size = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(size)
    finally:
        writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one by its methods, not by its class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None, "data comes after the connection"
        self._server.spawn(self._reply(data, addr, self._transport))

    async def _reply(self, data: bytes, addr: tuple[str, int], transport: asyncio.DatagramTransport) -> None:
        reply = await self._server.resolver.resolve(data)
        if not transport.is_closing():
            transport.sendto(reply, addr)


class DnsServer:
    """Listens on `address`, port 53 unless told otherwise; `run` until cancelled."""

    def __init__(self, resolver: Resolver, address: str, port: int = 53) -> None:
        self.resolver = resolver
        self._address, self._port = address, port
        self._group: asyncio.TaskGroup | None = None

    def spawn(self, work: object) -> None:
        assert self._group is not None, "questions come only while running"
        self._group.create_task(work)  # type: ignore[arg-type]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            self._group = group
            udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(self._address, self._port))
            tcp = await asyncio.start_server(self._serve_tcp, self._address, self._port)
            _log.info("answering", address=self._address, port=self._port)
            try:
                await asyncio.Event().wait()
            finally:
                udp.close()
                tcp.close()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(10):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    message = await reader.readexactly(size)
                reply = await self.resolver.resolve(message, tcp=True)
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
