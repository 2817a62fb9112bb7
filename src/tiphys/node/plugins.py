"""The gRPC services of kubelet plugins: registration, and what drivers of dynamic resources offer.

Source: https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/ and
upstream's `kubelet/pkg/apis/{pluginregistration/v1,dra/v1,dra/v1beta1}`; messages in plugins.proto.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.base.grpc import RpcChannel
from tiphys.node import plugins_pb2 as pb

_REGISTRATION = "/pluginregistration.Registration"
_SECONDS = 10.0
# A driver may have to set up hardware; upstream waits as long.
_PREPARE_SECONDS = 45.0
# By the name under which a plugin says that it serves it; the newest first.
DRA_SERVICES = {
    "v1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin",
    "v1beta1.DRAPlugin": "k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin",
}


async def introduce(socket: str) -> pb.PluginInfo:
    """Who listens on a registration socket. Raises RpcError."""
    async with RpcChannel(socket) as channel:
        return await channel.unary(f"{_REGISTRATION}/GetInfo", pb.InfoRequest(), pb.PluginInfo, within=_SECONDS)


async def tell_registered(socket: str, error: str = "") -> None:
    """Tell a plugin that it is registered, or why it is not. Raises RpcError."""
    status = pb.RegistrationStatus(plugin_registered=not error, error=error)
    async with RpcChannel(socket) as channel:
        method = f"{_REGISTRATION}/NotifyRegistrationStatus"
        await channel.unary(method, status, pb.RegistrationStatusResponse, within=_SECONDS)


async def prepare(socket: str, service: str, claims: Sequence[pb.Claim]) -> pb.NodePrepareResourcesResponse:
    """Have a driver make the devices of claims ready. `service` is one of DRA_SERVICES. Raises RpcError."""
    request = pb.NodePrepareResourcesRequest(claims=claims)
    async with RpcChannel(socket) as channel:
        method = f"/{service}/NodePrepareResources"
        return await channel.unary(method, request, pb.NodePrepareResourcesResponse, within=_PREPARE_SECONDS)


async def unprepare(socket: str, service: str, claims: Sequence[pb.Claim]) -> pb.NodeUnprepareResourcesResponse:
    """Have a driver take back what it made ready. Raises RpcError."""
    request = pb.NodeUnprepareResourcesRequest(claims=claims)
    async with RpcChannel(socket) as channel:
        method = f"/{service}/NodeUnprepareResources"
        return await channel.unary(method, request, pb.NodeUnprepareResourcesResponse, within=_PREPARE_SECONDS)
