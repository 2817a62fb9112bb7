"""Holds connections to Services that have no endpoint yet, and passes them on once one is there.

The kernel sends what is for a sleeping Service to a socket of this node; whoever connects waits, is not refused, and
does not notice more than a slow answer. Later connections go straight to the pods.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter as Metric
from tiphys.proxy.plan import Backend

_log = Log("activator")
_HELD = Metric("tiphys_activator_connections_total", "Connections held for a sleeping Service.", ("outcome",))
# For how long a connection is held, and how many are, all together; more are refused. Seconds.
_PATIENCE, _MOST = 60.0, 4096
_RETRY = Backoff(0.02, 0.5)
_CHUNK = 64 * 1024


class Activator:
    """Ports are named NAMESPACE/NAME:PORT, as in the plan. `changed` is called when it changes who waits.

    `admits` says whether the address of a client may connect to a backend: the kernel cannot apply network policies to
    connections that are passed on.
    """

    def __init__(
        self, address: str, clock: Clock, admits: Callable[[str, Backend], bool] = lambda source, backend: True
    ) -> None:  # fmt: skip
        self._address, self._clock, self._admits = address, clock, admits
        self.changed: Callable[[], None] = lambda: None
        self._servers: dict[str, asyncio.Server] = {}
        self._backends: dict[str, tuple[Backend, ...]] = {}
        self._come: dict[str, asyncio.Event] = {}
        self._waiting: Counter[str] = Counter()
        # When bytes of a connection that was held went through last, by port.
        self._used: dict[str, float] = {}
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, names: Iterable[str]) -> None:
        """Listen for these ports, and for no others. Raises OSError."""
        wanted = set(names)
        for name in self._servers.keys() - wanted:
            self._servers.pop(name).close()
            self._backends.pop(name, None)
            self._come.pop(name, None)
            self._used.pop(name, None)
        for name in wanted - self._servers.keys():
            self._come[name] = asyncio.Event()
            self._servers[name] = await asyncio.start_server(partial(self._accept, name), self._address, 0)

    def socket_of(self, name: str) -> Backend | None:
        """Where a port's connections are held."""
        server = self._servers.get(name)
        return server.sockets[0].getsockname()[:2] if server is not None and server.sockets else None

    def serves(self, name: str, backends: Sequence[Backend]) -> None:
        """These are the port's endpoints now."""
        self._backends[name] = tuple(backends)
        come = self._come.get(name)
        if come is None:
            return
        if backends:
            come.set()
        else:
            come.clear()

    def waiting(self) -> set[str]:
        return {name for name, count in self._waiting.items() if count}

    def used(self) -> dict[str, float]:
        return dict(self._used)

    async def close(self) -> None:
        for server in self._servers.values():
            server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(list(self._connections))

    def _accept(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if sum(self._waiting.values()) >= _MOST:
            _HELD.inc("refused")
            writer.transport.abort()
            return
        task = asyncio.ensure_future(self._hold(name, reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _hold(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await self._backend(name, writer.get_extra_info("peername")[0])
            if there is None:
                _HELD.inc("timed out")
                _log.warning("nobody came to serve a connection", port=name, seconds=_PATIENCE)
                writer.transport.abort()
                return
            _HELD.inc("served")
            try:
                await self._splice(name, (reader, writer), there)
            finally:
                there[1].close()
        except OSError as error:
            _log.debug("a held connection ended", port=name, error=str(error))
        finally:
            writer.close()

    async def _backend(self, name: str, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to an endpoint that the client may connect to, once there is one that answers."""
        self._waiting[name] += 1
        if self._waiting[name] == 1:
            self.changed()
        failures = 0
        try:
            async with asyncio.timeout(_PATIENCE):
                while True:
                    come = self._come.get(name)
                    if come is None:
                        return None
                    await come.wait()
                    backends = self._backends.get(name) or ()
                    for backend in backends:
                        if not self._admits(source, backend):
                            continue
                        with suppress(OSError):
                            return await asyncio.open_connection(*backend)
                    # It is Ready, and yet does not listen: some moments are between the two.
                    await self._clock.sleep(_RETRY.delay(failures))
                    failures += 1
        except TimeoutError:
            return None
        finally:
            self._used[name] = self._clock.time()
            self._waiting[name] -= 1
            if not self._waiting[name]:
                self.changed()

    async def _splice(
        self, name: str, client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        pod: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:  # fmt: skip
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on(name, client[0], pod[1]))
            group.create_task(self._pass_on(name, pod[0], client[1]))

    async def _pass_on(self, name: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                self._used[name] = self._clock.time()
                target.write(data)
                await target.drain()
        with suppress(OSError, RuntimeError):
            # One side has said all; the other may still answer.
            target.write_eof()
