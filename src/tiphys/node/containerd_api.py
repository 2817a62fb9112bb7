"""containerd's own API, beside CRI on the same socket: task events, and content, images and leases for importing.

Namespace `k8s.io` is where containerd's CRI plugin keeps its things. Messages in containerd.proto.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from google.protobuf.any_pb2 import Any as Any_
from grpclib.client import StreamStreamMethod
from grpclib.exceptions import GRPCError, StreamTerminatedError

from tiphys.base.backoff import Backoff
from tiphys.base.grpc import RpcChannel, RpcError, RpcExists, translated
from tiphys.node import containerd_pb2 as pb
from tiphys.node.oci import Blob

NAMESPACE = "k8s.io"
_CHUNK = 1 << 20
_TIMEOUT = 60.0
_HEADERS = {"containerd-namespace": NAMESPACE}
_EVENTS = "/containerd.services.events.v1.Events"
# How long a mark may take to come back to us before another is sent.
_MARK = Backoff(initial=0.02, maximum=2.0)
_WRITE = "/containerd.services.content.v1.Content/Write"


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something happened to a container. `kind` is the topic's last word: start, delete, oom.

    The first one is `subscribed`, of no container: what happens from then on is told. `image` is of the image whose
    name stands for the container's ID: it is there, or another one under its name.
    """

    container_id: str
    kind: str


class ContainerdApi:
    """Raises `grpc.RpcError`."""

    def __init__(self, endpoint: str) -> None:
        self._channel = RpcChannel(endpoint)

    def close(self) -> None:
        self._channel.close()

    async def events(self) -> AsyncIterator[TaskEvent]:
        """Starts, ends and OOM kills of containers and sandboxes, and new images, as they happen. Execs are left out.

        An end is told when the task is deleted: that is when the CRI plugin is about to know, or a moment before.
        """
        topics = [f'topic=="/tasks/{kind}",namespace=={NAMESPACE}' for kind in ("start", "delete", "oom")]
        topics += [f'topic=="/images/{kind}",namespace=={NAMESPACE}' for kind in ("create", "update")]
        mark = f"/tiphys/{uuid.uuid4().hex}"
        wanted = pb.SubscribeRequest(filters=[*topics, f'topic=="{mark}"'])
        marking = asyncio.create_task(self._publish(mark))
        try:
            async for envelope in self._channel.stream(f"{_EVENTS}/Subscribe", wanted, pb.Envelope):
                kind = envelope.topic.rpartition("/")[2]
                if envelope.topic == mark:
                    if marking.cancel():
                        yield TaskEvent("", "subscribed")
                    continue
                if envelope.topic.startswith("/images/"):
                    yield TaskEvent(pb.Image.FromString(envelope.event.value).name, "image")
                    continue
                if kind == "delete":
                    gone = pb.TaskDelete.FromString(envelope.event.value)
                    if gone.id not in ("", gone.container_id):
                        continue
                yield TaskEvent(pb.TaskEvent.FromString(envelope.event.value).container_id, kind)
        finally:
            marking.cancel()

    async def _publish(self, topic: str) -> None:
        """An event of our own, again and again: a subscription has no other sign of having begun."""
        for attempt in itertools.count():
            request = pb.PublishRequest(topic=topic, event=Any_(type_url="tiphys.dev/mark"))
            # Whoever does not answer here breaks the stream too, and that is told.
            with suppress(RpcError):
                await self._channel.unary(f"{_EVENTS}/Publish", request, pb.Empty, within=_TIMEOUT, metadata=_HEADERS)
            await asyncio.sleep(_MARK.delay(attempt))

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[dict[str, str]]:
        """Headers under which written content survives garbage collection until the block ends."""
        name = f"tiphys-{uuid.uuid4().hex}"
        service = "/containerd.services.leases.v1.Leases"
        create = pb.CreateLeaseRequest(id=name, labels={"containerd.io/gc.flat": "true"})
        await self._channel.unary(f"{service}/Create", create, pb.Empty, within=_TIMEOUT, metadata=_HEADERS)
        try:
            yield _HEADERS | {"containerd-lease": name}
        finally:
            gone = pb.DeleteLeaseRequest(id=name)
            await self._channel.unary(f"{service}/Delete", gone, pb.Empty, within=_TIMEOUT, metadata=_HEADERS)

    async def write(self, part: Blob, labels: dict[str, str], headers: dict[str, str]) -> None:
        """Put a blob into the content store; nothing happens where it is there already."""
        call = StreamStreamMethod(self._channel.raw, _WRITE, pb.WriteContentRequest, pb.WriteContentResponse)
        try:
            async with call.open(metadata=headers) as stream:
                with await asyncio.to_thread(part.open) as source:
                    await _send(stream, part, source, labels)
                await stream.recv_trailing_metadata()
        except GRPCError as error:
            fault = translated(error, _WRITE)
            if not isinstance(fault, RpcExists):
                raise fault from error
        except (StreamTerminatedError, OSError) as error:
            raise translated(error, _WRITE) from error

    async def read(self, digest: str) -> bytes:
        """A whole blob of the content store."""
        method = "/containerd.services.content.v1.Content/Read"
        request = pb.ReadContentRequest(digest=digest)
        parts = self._channel.stream(method, request, pb.ReadContentResponse, metadata=_HEADERS)
        return b"".join([part.data async for part in parts])

    async def image(self, name: str) -> pb.Image:
        """The image record called `name`; raises RpcNotFound."""
        method = "/containerd.services.images.v1.Images/Get"
        found = await self._channel.unary(
            method, pb.GetImageRequest(name=name), pb.ImageResponse, within=_TIMEOUT, metadata=_HEADERS
        )
        return found.image

    async def tag(self, name: str, target: pb.Descriptor) -> None:
        """Make the image record `name` point to a manifest or index, whether or not it exists."""
        service = "/containerd.services.images.v1.Images"
        image = pb.Image(name=name, target=target, labels={"io.cri-containerd.image": "managed"})
        try:
            await self._channel.unary(
                f"{service}/Create", pb.CreateImageRequest(image=image), pb.ImageResponse,
                within=_TIMEOUT, metadata=_HEADERS,
            )  # fmt: skip
        except RpcExists:
            await self._channel.unary(
                f"{service}/Update", pb.UpdateImageRequest(image=image), pb.ImageResponse,
                within=_TIMEOUT, metadata=_HEADERS,
            )  # fmt: skip


async def _send(stream: Any, part: Blob, source: IO[bytes], labels: dict[str, str]) -> None:
    """Write a blob's bytes to an open Write stream, chunk by chunk, and commit with the last."""
    offset = 0
    while True:
        data = await asyncio.to_thread(source.read, _CHUNK)
        last = offset + len(data) >= part.size
        request = pb.WriteContentRequest(
            action=pb.COMMIT if last else pb.WRITE, ref=f"tiphys-import-{part.digest}", total=part.size,
            expected=part.digest, offset=offset, data=data, labels=labels if last else None,
        )  # fmt: skip
        await stream.send_message(request, end=last)
        await stream.recv_message()
        if last:
            return
        if not data:
            raise OSError(f"{part.digest}: the source ended at {offset} of {part.size} bytes")
        offset += len(data)
