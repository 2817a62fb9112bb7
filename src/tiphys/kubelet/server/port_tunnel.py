"""Port-forward over a WebSocket as kubectl asks for it: the SPDY connection itself is the messages' content.

The runtime and the client speak SPDY with each other, one pair of streams for each forwarded connection; here bytes go
in and out of binary messages, whose borders mean nothing.
Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
"""

from __future__ import annotations

from contextlib import suppress

from aiohttp import WSMsgType, web

from tiphys.kubelet.server import websockets
from tiphys.kubelet.server.runtime_stream import Wire

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
_SPDY_PROTOCOL = "portforward.k8s.io"


async def serve(request: web.Request, url: str) -> web.StreamResponse:
    """Join the client's WebSocket to the streaming endpoint `url`. Raises web.HTTPException before the upgrade."""
    wire = await websockets.reach(url, _SPDY_PROTOCOL)
    try:
        websocket = await websockets.accept(request, PROTOCOL)
        await websockets.race(websocket, [_outward(wire, websocket), _inward(wire, websocket)], [])
        return websocket
    finally:
        wire.close()


async def _outward(wire: Wire, websocket: websockets.Socket) -> None:
    with suppress(ConnectionError):
        while received := await wire.receive():
            await websocket.send_bytes(received)


async def _inward(wire: Wire, websocket: websockets.Socket) -> None:
    with suppress(OSError):
        async for message in websocket:
            if message.type is not WSMsgType.BINARY:
                return
            await wire.send(message.data)
