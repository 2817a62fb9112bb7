"""CRI v1, the Container Runtime Interface: `await cri.call(pb.VersionRequest())` answers a `pb.VersionResponse`.

A request's type names its method and its response, so one method serves the whole interface.
https://kubernetes.io/docs/concepts/containers/cri/ ; messages in cri.proto.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message

from tiphys.base.grpc import RpcChannel
from tiphys.node import cri_pb2 as pb

_IMAGE_METHODS = frozenset({"ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo"})
# Seconds; upstream's kubelet waits two minutes for the runtime by default.
DEFAULT_TIMEOUT = 120.0
# An image of many gigabytes over a slow line: the caller cancels earlier when it wants.
PULL_TIMEOUT = 3600.0


class Cri:
    """A runtime endpoint. Raises `grpc.RpcError` and its subclasses."""

    def __init__(self, endpoint: str) -> None:
        self._channel = RpcChannel(endpoint)
        self.endpoint = self._channel.endpoint

    async def call(self, request: Message, *, within: float = DEFAULT_TIMEOUT) -> Any:
        """Send `XRequest` to method X and return its `XResponse`; `within` is in seconds."""
        name = type(request).__name__.removesuffix("Request")
        service = "ImageService" if name in _IMAGE_METHODS else "RuntimeService"
        response = getattr(pb, f"{name}Response")
        return await self._channel.unary(f"/runtime.v1.{service}/{name}", request, response, within=within)

    def events(self) -> AsyncIterator[pb.ContainerEventResponse]:
        """The runtime's container events; UNIMPLEMENTED where the runtime is older (containerd < 1.7)."""
        return self._channel.stream(
            "/runtime.v1.RuntimeService/GetContainerEvents", pb.GetEventsRequest(), pb.ContainerEventResponse
        )

    def close(self) -> None:
        self._channel.close()
