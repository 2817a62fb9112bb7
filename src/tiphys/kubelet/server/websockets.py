"""What exec, attach and port-forward over a WebSocket have in common: agreeing on a protocol, and staying connected."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from contextlib import suppress
from typing import Any

from aiohttp import web

from tiphys.kubelet.server.runtime_stream import Refused, Unreachable, Wire, dial

# As much as upstream's server takes in one message.
_MESSAGE_LIMIT = 32 * 1024 * 1024
_KEEPALIVE_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
Socket = web.WebSocketResponse
Way = Coroutine[Any, Any, None]


def is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def offered(request: web.Request) -> list[str]:
    """The sub-protocols that the client speaks, the one it likes best first; [""] where it names none."""
    names = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return [name.strip() for name in names.split(",") if name.strip()] or [""]


def agree(request: web.Request, spoken: Collection[str]) -> str:
    """The first of the client's sub-protocols that is spoken here. Raises HTTPBadRequest."""
    for name in offered(request):
        if name in spoken:
            return name
    here = ", ".join(filter(None, spoken))
    raise web.HTTPBadRequest(text=f"unable to upgrade: {', '.join(offered(request))} is not spoken here, only {here}")


async def reach(url: str, protocol: str) -> Wire:
    """Dial the runtime before the client's upgrade is answered, so that a refusal can still be told as HTTP."""
    try:
        return await dial(url, protocol)
    except Refused as error:
        raise web.HTTPBadGateway(text=f"the runtime's streaming server: {error.status} {error.text}") from error
    except Unreachable as error:
        raise web.HTTPBadGateway(text=f"the runtime's streaming server: {error}") from error


async def accept(request: web.Request, protocol: str) -> Socket:
    """Answer the client's upgrade."""
    websocket: Socket = web.WebSocketResponse(
        protocols=(protocol,) if protocol else (), compress=False, max_msg_size=_MESSAGE_LIMIT, timeout=_CLOSE_SECONDS
    )
    await websocket.prepare(request)
    return websocket


async def race(websocket: Socket, ways: list[Way], others: list[Way]) -> None:
    """Run both ways until one has ended, and `others` beside them; then close the WebSocket."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(way) for way in ways]
        beside = [group.create_task(other) for other in (*others, _keepalive(websocket))]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in (*running, *beside):
            task.cancel()
    await websocket.close()


async def _keepalive(websocket: Socket) -> None:
    """A client's pings wait behind its data while the container does not read; unasked pongs say that we are here."""
    with suppress(ConnectionError):
        while True:
            await asyncio.sleep(_KEEPALIVE_SECONDS)
            await websocket.pong()
