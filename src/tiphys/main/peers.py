"""The API servers of a cluster: each says where it is by a Lease, and whoever leads keeps their list for Services.

A server that was killed refuses connections at once, long before its Lease is over; `ended` looks at that.
Source: https://kubernetes.io/docs/concepts/architecture/leases/#api-server-identity
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from tiphys.api.errors import ApiError, Conflict, NotFound
from tiphys.api.meta import ObjectMeta
from tiphys.api.time import rfc3339_micro
from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.client.leader_election import NAMESPACE
from tiphys.client.transport import Unreachable
from tiphys.kinds.coordination.lease import LEASES, Lease
from tiphys.kinds.core.node import NODES

_log = Log("peers")
_PREFIX, _URL = "apiserver-", "tiphys.io/url"
_ROLE = "node-role.kubernetes.io/control-plane"
_LABEL = "apiserver.kubernetes.io/identity"
_DURATION, _RENEW_SECONDS = 15, 5.0
_CONNECT_SECONDS = 2.0
_RETRY = Backoff(0.1, 5.0)


async def show_role(client: Client, node: str, clock: Clock) -> None:
    """Label a control plane's Node as such, once its agent has made it; a kubelet may not do that itself."""
    failures = 0
    while True:
        try:
            await client.of(NODES).patch(ObjectMeta(name=node), {"metadata": {"labels": {_ROLE: ""}}})
            return
        except (ApiError, Unreachable):
            await clock.sleep(_RETRY.delay(failures))
            failures += 1


class Peers:
    """One server among others. `tls` is what it shows to them."""

    def __init__(self, client: Client, name: str, url: str, tls: ssl.SSLContext, clock: Clock) -> None:
        self._client, self._leases = client, client.of(LEASES)
        self._name, self._url, self._tls, self._clock = name, url, tls, clock

    async def announce(self) -> None:
        """Say that we are here, for ever; say that we are gone when cancelled."""
        failures = 0
        try:
            while True:
                try:
                    await self._renew()
                    failures = 0
                    await self._clock.sleep(_RENEW_SECONDS)
                except (ApiError, Unreachable) as error:
                    _log.warning("cannot say that this server is here", error=str(error))
                    await self._clock.sleep(_RETRY.delay(failures))
                    failures += 1
        finally:
            await self._leave()

    async def _renew(self) -> None:
        meta = {
            "name": _PREFIX + self._name, "namespace": NAMESPACE, "labels": {_LABEL: "kube-apiserver"},
            "annotations": {_URL: self._url},
        }  # fmt: skip
        spec = {
            "holderIdentity": self._name, "leaseDurationSeconds": _DURATION,
            "renewTime": rfc3339_micro(self._clock.time()),
        }  # fmt: skip
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        await self._leases.apply(lease, force=True)

    async def _leave(self) -> None:
        with suppress(ApiError, Unreachable, TimeoutError):
            async with asyncio.timeout(1.0):
                lease = await self._leases.get(_PREFIX + self._name, NAMESPACE)
                await self._leases.delete(lease.metadata)

    async def publish(self, publish: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        """Tell `publish` the URLs of the servers that live, now and whenever that changes. For ever."""
        informer: Informer[Lease] = Informer(
            self._client, LEASES, clock=self._clock, labelSelector=f"{_LABEL}=kube-apiserver"
        )
        # By server: when we last heard of it, by our clock.
        heard: dict[str, float] = {}
        changed = asyncio.Event()

        def hear(old: Lease | None, new: Lease | None) -> None:
            lease = new or old
            if lease is not None:
                heard[lease.metadata.name] = self._clock.monotonic()
                changed.set()

        informer.add_handler(hear)
        async with Supervisor(self._clock) as supervisor:
            supervisor.start("API servers' leases", informer.run)
            await informer.synced.wait()
            await self._publish(informer, heard, changed, publish)

    async def _publish(
        self, informer: Informer[Lease], heard: Mapping[str, float], changed: asyncio.Event,
        publish: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:  # fmt: skip
        told: Sequence[str] = ()
        while True:
            changed.clear()
            now, live, wait = self._clock.monotonic(), set(), float(_DURATION)
            for lease in informer.items():
                left = heard[lease.metadata.name] + _DURATION - now
                if left > 0:
                    live.add(lease.metadata.annotations.get(_URL, self._url))
                    wait = min(wait, left)
                else:
                    await self._forget(lease)
            urls = sorted(live)
            if urls and urls != told:
                await publish(urls)
                told = urls
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await changed.wait()

    async def _forget(self, lease: Lease) -> None:
        _log.warning("an API server is silent", name=lease.metadata.name)
        with suppress(NotFound, Conflict):
            await self._leases.delete(lease.metadata, unchanged=True)

    async def ended(self, name: str) -> None:
        """Return when the server of that name is known to have ended: its machine is there and refuses us."""
        failures = 0
        while True:
            try:
                await self._follow(name)
                failures = 0
            except ConnectionRefusedError:
                return
            except (OSError, ApiError, Unreachable, TimeoutError):
                failures += 1
            await self._clock.sleep(_RETRY.delay(failures))

    async def _follow(self, name: str) -> None:
        """Hold a connection to a server until it ends."""
        lease = await self._leases.get(_PREFIX + name, NAMESPACE)
        url = urlsplit(lease.metadata.annotations.get(_URL, ""))
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=self._tls)
        try:
            await reader.read(1)
        finally:
            writer.close()
