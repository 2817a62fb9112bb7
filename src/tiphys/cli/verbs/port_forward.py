"""`port-forward`: local ports that lead to a pod's, one WebSocket for each connection.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_port-forward/
"""

from __future__ import annotations

import selectors
import socket
import threading
from typing import Any, NamedTuple

import orjson

from tiphys.cli import pods
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.websocket import V4, WebSocket

FLAGS = """
address list=localhost  Local addresses to listen on.
pod-running-timeout time=1m0s  How long to wait for a running pod.
"""
_CHUNK = 64 * 1024


class Pair(NamedTuple):
    local: int
    remote: int


def run(call: Call) -> int:
    if len(call.args) < 2:
        raise CliError("TYPE/NAME and list of ports are required for port-forward")
    word, *ports = call.args
    pod = pods.find(call, word)
    pairs = [_pair(call, pod, word, text) for text in ports]
    selector = selectors.DefaultSelector()
    for pair in pairs:
        for listener in _listen(call, pair):
            selector.register(listener, selectors.EVENT_READ, pair.remote)
    while True:
        for key, _ in selector.select():
            ready: Any = key.fileobj
            client, _ = ready.accept()
            call.say(f"Handling connection for {ready.getsockname()[1]}")
            call.out.flush()
            threading.Thread(target=_serve, args=(call, pod, client, key.data), daemon=True).start()


def _pair(call: Call, pod: dict[str, Any], word: str, text: str) -> Pair:
    local, colon, remote = text.rpartition(":")
    target = remote
    number = _number(call, pod, word, target)
    if not colon:
        return Pair(number, number) if target.isdigit() is False else Pair(int(target), number)
    return Pair(int(local) if local else 0, number)


def _number(call: Call, pod: dict[str, Any], word: str, port: str) -> int:
    """The pod's port: of a Service its target, a name by the containers' ports."""
    if word.split("/")[0] in ("service", "services", "svc"):
        service = orjson.loads(
            call.transport.call("GET", f"/api/v1/namespaces/{call.namespace}/services/{word.partition('/')[2]}")
        )
        for candidate in service["spec"].get("ports") or ():
            if port in (str(candidate["port"]), candidate.get("name")):
                port = str(candidate.get("targetPort", candidate["port"]))
                break
        else:
            raise CliError(f"Service {service['metadata']['name']} does not have a service port {port}")
    if port.isdigit():
        return int(port)
    for container in pod["spec"]["containers"]:
        for candidate in container.get("ports") or ():
            if candidate.get("name") == port:
                return int(candidate["containerPort"])
    raise CliError(f"Pod '{pod['metadata']['name']}' does not have a named port '{port}'")


def _listen(call: Call, pair: Pair) -> list[socket.socket]:
    found, port = [], pair.local
    for address in call.opts["address"]:
        hosts = ("127.0.0.1", "::1") if address == "localhost" else (address,)
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                listener = socket.create_server((host, port), family=family)
            except OSError as error:
                if host == "::1":
                    continue
                raise CliError(f"unable to listen on port {port}: {error.strerror}") from None
            port = listener.getsockname()[1]
            shown = f"[{host}]" if ":" in host else host
            call.say(f"Forwarding from {shown}:{port} -> {pair.remote}")
            call.out.flush()
            found.append(listener)
    return found


def _serve(call: Call, pod: dict[str, Any], client: socket.socket, remote: int) -> None:
    """Two channels for the port: 0 data, 1 errors; each begins with the port's number."""
    path = pods.path_of(pod, "portforward")
    sock, protocol = call.transport.upgrade(path, query={"ports": str(remote)}, protocols=[V4])
    websocket = WebSocket(sock, protocol)

    def outward() -> None:
        try:
            while data := client.recv(_CHUNK):
                websocket.send(b"\0" + data)
        except OSError:
            return

    threading.Thread(target=outward, daemon=True).start()
    seen = {0: 0, 1: 0}
    try:
        while message := websocket.receive():
            channel, data = message[0], message[1:]
            if seen.get(channel, 2) == 0:
                seen[channel] = 1
                data = data[2:]
            if not data:
                continue
            if channel == 0:
                client.sendall(data)
            else:
                call.warn(f"an error occurred forwarding {remote}: {data.decode(errors='replace')}")
                return
    except OSError:
        return
    finally:
        client.close()
        websocket.close()


COMMANDS = {
    "port-forward": Command(run, "TYPE/NAME [LOCAL_PORT:]REMOTE_PORT [...]", FLAGS, """
        kubectl port-forward pod/web-0 8080:80
        kubectl port-forward svc/web :http
    """),
}  # fmt: skip
