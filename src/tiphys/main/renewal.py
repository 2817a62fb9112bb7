"""Renews certificates while everything runs, long before they expire, and takes up those that others renewed.

A machine that has a CA's key signs anew itself; a node elsewhere asks the cluster, showing the certificate that it has.
Whoever shows a certificate in this process shows the new one to its next connection (`Pki.reload`); etcd reads its
files at every handshake. A certificate is due about two thirds into its life, or at once when another CA signs now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from cryptography import x509

from tiphys.api.errors import ApiError
from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Gauge
from tiphys.client.transport import Unreachable
from tiphys.main.cluster import ClusterError, write_private
from tiphys.main.leaf import Key, Leaf, is_authority, leaf_of, renewal_time
from tiphys.main.pki import Pki
from tiphys.node.file_changes import FileChanges

_log = Log("certificates")
_EXPIRY = Gauge("tiphys_certificate_expiration_timestamp_seconds", "When each certificate expires.", ("name",))
# Looked at again at least so often: a clock that is set forward wakes nobody.
_LONGEST_SLEEP = 6 * 3600.0
_RETRY = Backoff(30.0, 3600.0)
# What comes in one go, as a certificate and its CA, is taken up in one go.
_SETTLE_SECONDS = 0.2

# Gives a certificate in PEM for a leaf and a key.
Request = Callable[[Leaf, Key], Awaitable[bytes]]
Callback = Callable[[], Awaitable[None]]


class Changes(Protocol):
    async def wait(self) -> None: ...


class Renewal:
    """Run `run` under a supervisor.

    `signs` is whether this process renews what this machine's CA keys can sign; `request` gets a certificate from the
    cluster for each of `requested` by name. `changed` is called after any file has changed, whoever changed it.
    """

    def __init__(
        self, pki: Pki, clock: Clock, *, signs: bool = False, requested: Collection[str] = (),
        request: Request | None = None, changed: Callback | None = None,
    ) -> None:  # fmt: skip
        self._pki, self._clock = pki, clock
        self._signs, self._requested, self._request = signs, frozenset(requested), request
        self._changed = changed
        self._failures = 0
        self._seen: dict[Path, tuple[int, int]] = {}

    async def run(self) -> None:
        async with FileChanges(self._pki.directory) as changes:
            await self.follow(changes)

    async def follow(self, changes: Changes) -> None:
        """As `run`, told of changes by `changes`."""
        self._seen = await asyncio.to_thread(self._files)
        # What changed between the making of contexts and now.
        self._pki.reload()
        while True:
            pause = await self.look()
            await self._wait(changes, pause)

    async def look(self) -> float:
        """Renew what is due, take up what is new; the seconds until it is worth looking again."""
        if not self._signs and self._request is None:
            await self._take_up()
            return _LONGEST_SLEEP
        problems = await self._renew_all()
        await self._take_up()
        self._failures = self._failures + 1 if problems else 0
        if problems:
            return _RETRY.delay(self._failures - 1)
        times = [when for when in await asyncio.to_thread(self._renewal_times) if when > self._clock.time()]
        return min([_LONGEST_SLEEP, *(when - self._clock.time() for when in times)])

    async def _wait(self, changes: Changes, seconds: float) -> None:
        sleep, change = asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(changes.wait())
        try:
            await asyncio.wait({sleep, change}, return_when=asyncio.FIRST_COMPLETED)
            if change.done():
                await self._clock.sleep(_SETTLE_SECONDS)
        finally:
            for task in (sleep, change):
                task.cancel()
            await asyncio.gather(sleep, change, return_exceptions=True)

    async def _renew_all(self) -> list[str]:
        """The names of those that are due and could not be renewed."""
        problems = []
        for name, certificate in await asyncio.to_thread(lambda: list(self._pki.certificates())):
            _EXPIRY.set(certificate.not_valid_after_utc.timestamp(), name)
            if is_authority(certificate):
                continue
            try:
                await self._renew(name, certificate)
            except (ApiError, Unreachable, ClusterError, OSError) as error:
                left = (certificate.not_valid_after_utc.timestamp() - self._clock.time()) / 86400
                _log.error("cannot renew a certificate", name=name, days_left=round(left, 1), error=error)
                problems.append(name)
        return problems

    async def _renew(self, name: str, certificate: x509.Certificate) -> None:
        if not await asyncio.to_thread(self._is_due, certificate):
            return
        renewed = self._signs and await asyncio.to_thread(self._sign, name)
        if not renewed and self._request is not None and name in self._requested:
            made = await self._request(leaf_of(certificate), self._pki.own_key(name))
            await asyncio.to_thread(write_private, self._pki.certificate(name), made)
            # What shows that it may ask for the next one is this one.
            self._pki.reload()
            renewed = True
        if renewed:
            until = self._pki.read(name).not_valid_after_utc
            _EXPIRY.set(until.timestamp(), name)
            _log.info("certificate renewed", name=name, until=until.isoformat())

    def _is_due(self, certificate: x509.Certificate) -> bool:
        family, current = self._pki.family(certificate)
        return self._clock.time() >= renewal_time(certificate) or (bool(family) and not current)

    def _sign(self, name: str) -> bool:
        """Make the certificate anew, unless another process has meanwhile; False where the CA's key is not here."""
        with self._pki.locked():
            certificate = self._pki.read(name)
            issuer = self._pki.issuers().get(self._pki.family(certificate)[0])
            if issuer is None:
                return False
            if self._is_due(certificate):
                self._pki.issue(name, leaf_of(certificate), issuer, self._clock.time())
            return True

    async def _take_up(self) -> None:
        files = await asyncio.to_thread(self._files)
        if files == self._seen:
            return
        self._seen = files
        failed = self._pki.reload()
        if failed:
            _log.error("certificates cannot be read; the last ones are still shown", names=",".join(failed))
        if self._changed is not None:
            await self._changed()

    def _files(self) -> dict[Path, tuple[int, int]]:
        """What tells one content of a file from the next: files are replaced, not written to."""
        paths: Sequence[Path] = [path for path in self._pki.directory.iterdir() if path.suffix in (".crt", ".key")]
        found = {}
        for path in paths:
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found[path] = (status.st_ino, status.st_mtime_ns)
        return found

    def _renewal_times(self) -> list[float]:
        return [renewal_time(each) for _, each in self._pki.certificates() if not is_authority(each)]
