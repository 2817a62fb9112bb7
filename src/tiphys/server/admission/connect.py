"""Admission of CONNECT: exec, attach, port-forward and the proxies, whose object is the options of the request.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules
"""

from __future__ import annotations

from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.server.call import Call
from tiphys.server.writes import Writes

CONNECTED = ("exec", "attach", "portforward", "proxy")
_STREAMS = ("stdin", "stdout", "stderr", "tty")


async def admit_connect(writes: Writes, call: Call) -> None:
    """Ask admission about a connection, if the call is one. Raises ApiError."""
    if call.target.subresource in CONNECTED:
        await writes.admit_body(call, _options(call), "CONNECT")


def _options(call: Call) -> Json:
    request, target = call.request, call.target
    if target.subresource == "proxy":
        return {"path": f"/{target.tail}"} if target.tail else {}
    if target.subresource == "portforward":
        try:
            ports = [int(port) for value in request.query.get("ports", ()) for port in value.split(",")]
        except ValueError:
            raise errors.BadRequest(f"ports: {request.query['ports']} are not numbers") from None
        return {"ports": ports} if ports else {}
    options: Json = {name: True for name in _STREAMS if request.flag(name)}
    if request.param("container"):
        options["container"] = request.param("container")
    if target.subresource == "exec":
        options["command"] = list(request.query.get("command", ()))
    return options
