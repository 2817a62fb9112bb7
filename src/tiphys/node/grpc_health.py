"""grpc.health.v1: ask a server whether a service is serving.

Its two messages have the wire form of well-known wrappers (one string, one enum in field 1), so none is generated.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from tiphys.base.grpc import RpcChannel, RpcError

_SERVING = 1
_NAMES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


async def check(address: str, service: str, within: float) -> tuple[bool, str]:
    """Whether `service` ("" for the whole server) at HOST:PORT is serving within so many seconds; and why not."""
    async with RpcChannel(address) as channel:
        try:
            request = StringValue(value=service)
            answer = await channel.unary("/grpc.health.v1.Health/Check", request, Int32Value, within=within)
        except RpcError as error:
            return False, f"service unhealthy: {error}"
    if answer.value == _SERVING:
        return True, ""
    return False, f"service unhealthy (responded with {_NAMES.get(answer.value, str(answer.value))!r})"
