"""Leader election over a Lease: of several processes one acts, and another soon after it is gone.

The holder renews the Lease; whoever wants it watches it and takes it when nothing was renewed for as long as it says,
by its own clock, so clocks need not agree. A holder that cannot renew stops acting before others may begin. Who can
tell sooner that a holder has ended (`ended`) need not wait; one that stops in order gives the Lease back.
Source: https://kubernetes.io/docs/concepts/architecture/leases/#leader-election
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from tiphys.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339_micro
from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Gauge
from tiphys.client.client import ResourceClient
from tiphys.client.transport import Unreachable

_log = Log("election")
_LEADING = Gauge("leader_election_master_status", "Whether this process holds the lease.", ("name",))
NAMESPACE = "kube-system"
_RETRY = Backoff(0.1, 1.0)


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds. `patience`: how long a holder acts without a renewal; others wait for `duration`, which is more."""

    duration: int = 5
    patience: float = 3.5
    renew: float = 1.25


class LeaderElection:
    """One candidate, called `identity`, for the Lease `name` in kube-system; `leases` is a client of Leases.

    `ended(holder)` returns once that holder is known to have ended, however long that takes.
    """

    def __init__(
        self, leases: ResourceClient[Any], name: str, identity: str, clock: Clock, *, timing: Timing = Timing(),
        ended: Callable[[str], Coroutine[Any, Any, None]] | None = None,
    ) -> None:  # fmt: skip
        self._leases, self.name, self.identity = leases, name, identity
        self._clock, self._timing, self._ended = clock, timing, ended
        self._renewed = 0.0

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Run `lead()` whenever elected, and cancel it when the Lease is lost. For ever; raises what `lead` raises."""
        while True:
            lease = await self._acquire()
            _log.info("leading", lease=self.name, identity=self.identity)
            _LEADING.set(1, self.name)
            try:
                await self._hold(lease, lead)
            finally:
                _LEADING.set(0, self.name)
            _log.warning("no longer leading", lease=self.name, identity=self.identity)

    async def _acquire(self) -> Json:
        failures = 0
        while True:
            try:
                lease = await self._read()
                while lease is not None and _holder(lease) not in ("", self.identity):
                    lease, over = await self._outlast(lease)
                    if over:
                        break
                return await self._take(lease)
            except (Conflict, AlreadyExists):
                failures = 0
            except (ApiError, Unreachable) as error:
                _log.warning("cannot see the lease", lease=self.name, error=str(error))
                await self._clock.sleep(_RETRY.delay(failures))
                failures += 1

    async def _read(self) -> Json | None:
        try:
            return await self._leases.get_json(self.name, NAMESPACE)
        except NotFound:
            return None

    async def _outlast(self, lease: Json) -> tuple[Json | None, bool]:
        """Follow the Lease until it has another holder, or its holder's time is over (which is the second)."""
        holder = _holder(lease)
        ended = asyncio.ensure_future(_forever() if self._ended is None else self._ended(holder))
        try:
            while True:
                changed = await self._next(lease, ended)
                if changed is None:
                    return lease, True
                lease = changed
                if _holder(lease) != holder:
                    return lease, False
        finally:
            await _cancel(ended)

    async def _next(self, lease: Json, ended: asyncio.Future[None]) -> Json | None:
        """What the Lease becomes; None once nothing was renewed for as long as it says, or its holder ended."""
        query = {"fieldSelector": f"metadata.name={self.name}", "resourceVersion": lease["metadata"]["resourceVersion"]}
        seconds = (lease.get("spec") or {}).get("leaseDurationSeconds") or self._timing.duration
        late = asyncio.ensure_future(self._clock.sleep(seconds))
        async with self._leases.watch(NAMESPACE, **query) as events:
            change = asyncio.ensure_future(anext(events, None))
            try:
                waits: set[asyncio.Future[Any]] = {change, late, ended}
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if not change.done():
                    return None
                event = change.result()
            finally:
                await _cancel(change, late)
        if event is None or event[0] not in ("ADDED", "MODIFIED"):
            return await self._read()
        changed: Json = orjson.loads(event[1])
        return changed

    async def _take(self, lease: Json | None) -> Json:
        self._renewed = self._clock.monotonic()
        now = rfc3339_micro(self._clock.time())
        mine = {"holderIdentity": self.identity, "leaseDurationSeconds": self._timing.duration}
        before = (lease or {}).get("spec") or {}
        changes = (before.get("leaseTransitions") or 0) + (lease is not None and _holder(lease) != self.identity)
        wanted: Json = {
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": self.name, "namespace": NAMESPACE} if lease is None else lease["metadata"],
            "spec": {**before, **mine, "acquireTime": now, "renewTime": now, "leaseTransitions": changes},
        }  # fmt: skip
        return await (self._leases.create_json(wanted) if lease is None else self._leases.update_json(wanted))

    async def _hold(self, lease: Json, lead: Callable[[], Awaitable[None]]) -> None:
        leading, renewing = asyncio.ensure_future(lead()), asyncio.ensure_future(self._renew(lease))
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(leading, renewing)
            await self._release()
        for task in (leading, renewing):
            if not task.cancelled():
                task.result()

    async def _renew(self, lease: Json) -> None:
        """Renew until that fails for too long or somebody else has the Lease."""
        failures = 0
        while True:
            await self._clock.sleep(_RETRY.delay(failures - 1) if failures else self._timing.renew)
            began = self._clock.monotonic()
            left = self._renewed + self._timing.patience - began
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    lease = await self._renew_once(lease)
                self._renewed, failures = began, 0
            except (ApiError, Unreachable, TimeoutError) as error:
                _log.warning("cannot renew the lease", lease=self.name, error=str(error) or type(error).__name__)
                failures += 1
            if _holder(lease) != self.identity:
                return

    async def _renew_once(self, lease: Json) -> Json:
        spec = {**lease["spec"], "renewTime": rfc3339_micro(self._clock.time())}
        try:
            return await self._leases.update_json({**lease, "spec": spec})
        except Conflict:
            # Somebody else's now, or only annotated; or our last renewal happened and its answer was lost.
            return await self._leases.get_json(self.name, NAMESPACE)

    async def _release(self) -> None:
        """Let others begin at once, as far as that can be said quickly."""
        with suppress(ApiError, Unreachable, TimeoutError):
            async with asyncio.timeout(1.0):
                lease = await self._read()
                if lease is not None and _holder(lease) == self.identity:
                    spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._leases.update({**lease, "spec": spec})


async def _forever() -> None:
    await asyncio.Event().wait()


def _holder(lease: Json) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
