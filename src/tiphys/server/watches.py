"""Watches: from a request to a stream of lines.

A watch begins with what is there now (no resourceVersion, 0, or sendInitialEvents), with the cache's recent history,
or, if that does not reach back far enough, with the store's own history; from then on the cache pushes.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

import orjson

from tiphys import store
from tiphys.api import errors
from tiphys.base.clock import Clock
from tiphys.server import output
from tiphys.server.cache import Cache, Change, Collection, Entry, Finished, Overflow, Watcher
from tiphys.server.call import Call
from tiphys.server.negotiation import Form
from tiphys.server.request_metrics import RequestMetrics
from tiphys.server.watchers import Chosen, watcher_of
from tiphys.store import Record

_BOOKMARK_SECONDS = 60.0
_MIN_TIMEOUT = 1800
Line = Callable[[str, Entry], bytes]


class Watches:
    """The open watches of one server; `drain` ends them all, for a clean stop."""

    def __init__(self, cache: Cache, clock: Clock, metrics: RequestMetrics) -> None:
        self.cache, self.clock, self.metrics = cache, clock, metrics
        self.open: set[Watcher] = set()

    def drain(self) -> None:
        """End every watch; clients resume elsewhere or later from where they were."""
        for watcher in list(self.open):
            watcher.finish()


async def start_watch(watches: Watches, call: Call, chosen: Chosen, form: Form) -> AsyncIterator[bytes]:
    """The stream of a watch. What is wrong with the request raises here, before anything is sent."""
    resource, cache = call.resource, watches.cache
    collection = cache.of(call.hub.prefix)
    initial, ended = _initial_events(call)
    view = resource.view
    watcher = watcher_of(call, chosen)
    line = output.watch_lines(resource, form, watches.clock.time)
    revision = call.revision() or 0
    past: AsyncIterator[Sequence[store.Event]] | None = None
    present: Sequence[Entry] = ()
    if initial:
        present = [entry for entry in collection.scan(chosen.prefix) if view is not None or chosen.matches(entry)]
    elif revision >= collection.since:
        for change in collection.history:
            if change.revision > revision:
                watcher.offer(change)
    else:
        past = await _open_past(cache, chosen, revision)
    stream = _Stream(watches, call, watcher, line)
    if past is not None:
        return stream.replay(past, collection)
    now = cache.revision
    collection.add(watcher)
    watches.open.add(watcher)

    def close() -> None:
        collection.remove(watcher)
        watches.open.discard(watcher)

    try:
        if view is not None:
            present = [entry for entry in await view.show(present) if chosen.matches(entry)]
    except BaseException:
        close()
        raise
    head = [line("ADDED", entry) for entry in present]
    if ended:
        head.append(output.bookmark(resource, now, form, initial_end=True))
    mark = (lambda at: output.bookmark(resource, at, form)) if call.request.flag("allowWatchBookmarks") else None
    return _Closing(stream.live(head, mark), close)


class _Closing:
    """A stream whose end is seen also when it was never begun, which a generator's `finally` does not."""

    def __init__(self, lines: AsyncGenerator[bytes], close: Callable[[], None]) -> None:
        self._lines, self._close = lines, close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._lines.__anext__()
        except BaseException:
            self._close()
            raise

    async def aclose(self) -> None:
        await self._lines.aclose()
        self._close()


async def _open_past(cache: Cache, chosen: Chosen, revision: int) -> AsyncIterator[Sequence[store.Event]]:
    context = cache.store.watch(chosen.prefix, after=revision)
    try:
        batches = await context.__aenter__()
    except store.Compacted as error:
        raise errors.Expired(f"too old resource version: {revision} ({error.oldest})") from None

    async def closing() -> AsyncGenerator[Sequence[store.Event]]:
        try:
            async for batch in batches:
                yield batch
        finally:
            await context.__aexit__(None, None, None)

    return closing()


def _initial_events(call: Call) -> tuple[bool, bool]:
    """Whether to begin with what is there, and whether to say where that ends."""
    text = call.request.param("sendInitialEvents")
    match = call.request.param("resourceVersionMatch")
    if text:
        if match != "NotOlderThan":
            raise errors.Invalid(
                'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
        wanted = call.request.flag("sendInitialEvents")
        return wanted, wanted and call.request.flag("allowWatchBookmarks")
    if match:
        raise errors.Invalid(
            'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: '
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        )
    return not call.revision(), False


class _Stream:
    def __init__(self, watches: Watches, call: Call, watcher: Watcher, line: Line) -> None:
        self._watches, self._call, self._watcher, self._line = watches, call, watcher, line

    async def live(self, head: list[bytes], bookmark: Callable[[int], bytes] | None) -> AsyncGenerator[bytes]:
        """Lines until the request's timeout, the client's leaving or the server's stop."""
        clock, cache, loop = self._watches.clock, self._watches.cache, asyncio.get_running_loop()
        ends = clock.monotonic() + _timeout(self._call)
        sent = cache.revision
        self._watches.metrics.watching(self._call.target, 1)
        # One timer at a time serves bookmarks and the end; one for each event would cost as much as its delivery.
        timer = loop.call_later(min(_timeout_left(ends, clock), _BOOKMARK_SECONDS), self._watcher.poke)
        try:
            if head:
                yield b"".join(head)
            while True:
                events = await self._watcher.next()
                if events:
                    sent = events[-1][1].revision
                    yield b"".join([self._line(kind, entry) for kind, entry in events])
                    continue
                left = _timeout_left(ends, clock)
                if left <= 0:
                    return
                timer = loop.call_later(min(left, _BOOKMARK_SECONDS), self._watcher.poke)
                if bookmark is not None and cache.revision > sent:
                    sent = cache.revision
                    yield bookmark(sent)
        except Finished:
            return
        except errors.ApiError as error:
            yield _error_line(error)
        except Overflow:
            yield _error_line(errors.Expired("the watch fell too far behind; list again"))
        finally:
            timer.cancel()
            self._watches.metrics.watching(self._call.target, -1)

    async def replay(self, past: AsyncIterator[Sequence[store.Event]], collection: Collection) -> AsyncGenerator[bytes]:
        """A watch that begins before the cache's history is fed by the store for as long as it lasts."""
        self._watches.metrics.watching(self._call.target, 1)
        try:
            async with asyncio.timeout(_timeout(self._call)):
                async for batch in past:
                    for event in batch:
                        self._watcher.offer(_change(event, collection))
                    if self._watcher.pending:
                        # So that it does not wait where nothing of this is selected.
                        self._watcher.poke()
                        lines = [self._line(kind, entry) for kind, entry in await self._watcher.next()]
                        yield b"".join(lines)
        except TimeoutError:
            return
        except errors.ApiError as error:
            yield _error_line(error)
        except store.Compacted as error:
            yield _error_line(errors.Expired(f"the watch fell behind what is kept; list again: {error}"))
        finally:
            await past.aclose()  # type: ignore[attr-defined]
            self._watches.metrics.watching(self._call.target, -1)


def _change(event: store.Event, collection: Collection) -> Change:
    previous = event.previous
    old = Entry(previous, collection.heads) if previous else None
    if event.value is None:
        assert previous is not None, "a deletion always has what it deleted"
        gone = Entry(Record(event.key, previous.value, event.revision, previous.created), collection.heads)
        return Change(event.revision, old, None, gone)
    created = previous.created if previous else event.revision
    record = Record(event.key, event.value, event.revision, created)
    return Change(event.revision, old, Entry(record, collection.heads))


def _timeout_left(ends: float, clock: Clock) -> float:
    return max(0.0, ends - clock.monotonic())


def _timeout(call: Call) -> float:
    text = call.request.param("timeoutSeconds")
    if text.isdecimal() and int(text) > 0:
        return float(text)
    # Spread, so that the watches of one moment do not all come back in one moment.
    return _MIN_TIMEOUT * (1 + random.random())  # noqa: S311


def _error_line(error: errors.ApiError) -> bytes:
    return b'{"type":"ERROR","object":%b}\n' % orjson.dumps(error.status())
