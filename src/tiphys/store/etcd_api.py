"""etcd's calls as the store needs them: endpoints tried in turn, errors of gRPC translated, watches as iterators."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from grpclib.client import StreamStreamMethod

from tiphys.base.grpc import FAULTS, RpcChannel, RpcError, RpcUnavailable, translated
from tiphys.store import etcd_pb2 as pb
from tiphys.store.protocol import Revision, Unavailable

M = TypeVar("M", bound=Message)
# How long one try may take; the next ones get more. What was asked of a leader that is just lost, etcd forgets, and
# lets whoever asked wait for seven seconds. Where there is no majority, all that is asked fails after these together.
_TRIES = (0.6, 0.8, 1.2, 2.4)
_SECONDS = 10.0
_LIST_SECONDS = 60.0
# Our keys begin with a slash; the one key below them marks a place in history.
FIRST, BEHIND, MARK = b".", b"0", b".tiphys-mark"
# Outside of what is watched: how far our revisions are ahead of etcd's, in decimal.
OFFSET = b"tiphys-revision-offset"
_FULL = "RESOURCE_EXHAUSTED"
_WATCH = "/etcdserverpb.Watch/Watch"


class WatchBroken(Exception):
    """The stream ended; what came before it counts."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WatchCompacted(Exception):
    """The watch would begin before what is kept; `oldest` is the first revision that can still be read."""

    def __init__(self, oldest: Revision) -> None:
        super().__init__(f"compacted up to {oldest}")
        self.oldest = oldest


class EtcdApi:
    """Calls raise Unavailable, and IndexError for a revision that is compacted or not written yet."""

    def __init__(self, endpoints: Sequence[str], tls: ssl.SSLContext | None) -> None:
        self._channels = [RpcChannel(endpoint, tls) for endpoint in endpoints]
        # The one that answered last, and the one that `follow` is told by.
        self._current = self._followed = 0
        self.full = asyncio.Event()

    async def revision(self) -> Revision:
        """The revision of the whole store now, agreed by a quorum."""
        found = await self.range(pb.RangeRequest(key=b"\0", count_only=True))
        return int(found.header.revision)

    async def offset(self) -> int:
        """How far the revisions that the store shows are ahead of etcd's own."""
        found = await self.range(pb.RangeRequest(key=OFFSET))
        return int(found.kvs[0].value) if found.kvs else 0

    async def set_offset(self, offset: int) -> None:
        write = pb.RequestOp(request_put=pb.PutRequest(key=OFFSET, value=b"%d" % offset))
        await self.txn(pb.TxnRequest(success=[write]))

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        # A long list takes long; what is small is asked again soon.
        seconds = _TRIES if request.count_only or not request.range_end else (_LIST_SECONDS,) * len(self._channels)
        found, _ = await self._call("/etcdserverpb.KV/Range", request, pb.RangeResponse, seconds)
        return found

    async def txn(self, request: pb.TxnRequest, *, repeat: bool = False) -> tuple[pb.TxnResponse, bool]:
        """The answer, and whether an earlier try may have been carried out too.

        Only a write that can happen but once, because of what it compares, may be tried again (`repeat`).
        """
        return await self._call("/etcdserverpb.KV/Txn", request, pb.TxnResponse, _TRIES if repeat else (_SECONDS,))

    async def compact(self, revision: Revision) -> None:
        request = pb.CompactionRequest(revision=revision, physical=True)
        await self._call("/etcdserverpb.KV/Compact", request, pb.CompactionResponse, (_SECONDS,))

    async def follow(self, start: Revision) -> AsyncGenerator[pb.WatchResponse]:
        """Changes of our keys from revision `start` on, as they commit. Raises WatchCompacted, WatchBroken."""
        create = pb.WatchCreateRequest(
            key=FIRST, range_end=BEHIND, start_revision=start, progress_notify=True, prev_kv=True
        )
        self._followed = self._current
        async for response in self._stream(create):
            yield response
        raise WatchBroken("the server ended the watch")

    def leave_followed(self) -> None:
        """Let the next `follow` go to another endpoint than the last one."""
        self._leave(self._followed)

    async def _stream(self, create: pb.WatchCreateRequest) -> AsyncGenerator[pb.WatchResponse]:
        at = self._current
        channel = self._channels[at]
        watch = StreamStreamMethod(channel.raw, _WATCH, pb.WatchRequest, pb.WatchResponse)
        try:
            async with watch.open() as stream:
                await stream.send_message(pb.WatchRequest(create_request=create))
                try:
                    async for response in stream:
                        _check(response)
                        if not response.created:
                            yield response
                finally:
                    # The request side is still open: without this the library would call the end a fault.
                    await stream.cancel()
        except FAULTS as error:
            self._leave(at)
            raise WatchBroken(str(translated(error, _WATCH))) from error

    async def history(self, after: Revision, until: Revision) -> list[pb.Event]:
        """All changes of our keys after one revision up to another, at which one of them changed."""
        create = pb.WatchCreateRequest(key=FIRST, range_end=BEHIND, start_revision=after + 1, prev_kv=True)
        found: list[pb.Event] = []
        async for response in self._stream(create):
            for event in response.events:
                if _headless(event):
                    raise WatchCompacted(int(event.kv.mod_revision))
                found.append(event)
            if found and found[-1].kv.mod_revision >= until:
                return [event for event in found if event.kv.mod_revision <= until]
        raise WatchBroken("the server ended the watch")

    async def oldest(self, revision: Revision) -> Revision:
        """The oldest revision that is kept, given one that is not."""
        create = pb.WatchCreateRequest(key=FIRST, range_end=BEHIND, start_revision=revision)
        try:
            async with asyncio.timeout(_SECONDS):
                async for _ in self._stream(create):
                    pass
        except WatchCompacted as error:
            return error.oldest
        except TimeoutError:
            pass
        return revision + 1

    async def mark(self) -> Revision:
        """Write a key that is nobody's: the revision behind all that was written before."""
        write = pb.RequestOp(request_put=pb.PutRequest(key=MARK))
        # Marking twice does no harm.
        done, _ = await self.txn(pb.TxnRequest(success=[write]), repeat=True)
        return int(done.header.revision)

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    async def _call(self, method: str, request: Message, response: type[M], seconds: Sequence[float]) -> tuple[M, bool]:
        """One try for each of `seconds`, going round the endpoints; and whether one may have been carried out before.

        An endpoint that refuses the connection costs no try, as long as there are others.
        """
        reason, lost, refused, left = "", False, 0, list(seconds)
        while left:
            at = self._current
            try:
                return await self._channels[at].unary(method, request, response, within=left[0]), lost
            except RpcUnavailable as error:
                reason = str(error)
                self._leave(at)
                if isinstance(error.__cause__, ConnectionRefusedError) and refused < len(self._channels) - 1:
                    refused += 1
                    continue
                lost = True
                left.pop(0)
            except RpcError as error:
                if error.code == "OUT_OF_RANGE":
                    raise IndexError(error.message) from error
                if error.code == _FULL:
                    self.full.set()
                raise Unavailable(_explained(error)) from error
        raise Unavailable(f"etcd does not answer: {reason}")

    def _leave(self, failed: int) -> None:
        """Go to the next endpoint, unless others have left this one already."""
        if self._current == failed:
            self._current = (failed + 1) % len(self._channels)


def _check(response: pb.WatchResponse) -> None:
    if response.compact_revision:
        raise WatchCompacted(int(response.compact_revision))
    if response.canceled:
        raise WatchBroken(response.cancel_reason or "the server cancelled the watch")


def _headless(event: pb.Event) -> bool:
    """Whether what the event replaced is compacted, so that it would look like a creation."""
    return not event.HasField("prev_kv") and (event.type == 1 or event.kv.version > 1) and event.kv.key != MARK


def _explained(error: RpcError) -> str:
    if error.code == _FULL:
        return (
            f"etcd takes no writes: {error.message}; the leading server compacts and defragments it just now; "
            "if it stays full, delete what is not needed"
        )
    return f"etcd refused: {error.message} ({error.code})"
