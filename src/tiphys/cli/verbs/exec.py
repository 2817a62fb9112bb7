"""`exec` and `attach`: a command's input and output over a WebSocket, with a terminal where one is asked for.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_exec/
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import orjson

from tiphys.cli import pods
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError, Exit
from tiphys.cli.websocket import CLOSE, ERROR, RESIZE, STDERR, STDIN, STDOUT, V4, V5, WebSocket

FLAGS = """
container,c str  The container; the pod's default where none is named.
stdin,i bool  Pass standard input to the container.
tty,t bool  Standard input is a terminal.
quiet,q bool  Print nothing but the container's output.
pod-running-timeout time=1m0s  How long to wait for a running pod.
"""
_CHUNK = 32 * 1024


def execute(call: Call) -> int:
    words, command = _split(call)
    if not command:
        raise CliError("you must specify at least one command for the container")
    if not words:
        raise CliError("pod, type/name or --filename must be specified")
    pod = pods.find(call, words[0])
    return _session(call, pod, "exec", command)


def attach(call: Call) -> int:
    if not call.args:
        raise CliError("pod, type/name or --filename must be specified")
    return _session(call, pods.find(call, call.args[0]), "attach", [])


def _split(call: Call) -> tuple[list[str], list[str]]:
    """What stands before and after `--`; without one, the first word is the pod."""
    if call.dash >= 0:
        return call.args[: call.dash], call.args[call.dash :]
    return call.args[:1], call.args[1:]


def _session(call: Call, pod: dict[str, Any], verb: str, command: list[str]) -> int:
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise CliError(f"cannot {verb} into a container in a completed pod; current phase is {phase}")
    container = call.opts["container"] or pods.default_container(pod)
    if not call.opts["container"] and len(pods.containers(pod)) > 1 and not call.opts["quiet"]:
        names = ", ".join(pods.containers(pod, every=True))
        call.warn(f'Defaulted container "{container}" out of: {names}')
    stdin, tty = call.opts["stdin"], call.opts["tty"]
    if tty and (not stdin or not sys.stdin.isatty()):
        if stdin:
            call.warn("Unable to use a TTY - input is not a terminal or the right kind of file")
        tty = False
    query: dict[str, Any] = {"container": container, "stdin": stdin, "stdout": True, "stderr": not tty, "tty": tty}
    if command:
        query["command"] = command
    sock, protocol = call.transport.upgrade(pods.path_of(pod, verb), query=query, protocols=[V5, V4])
    websocket = WebSocket(sock, protocol)
    try:
        with _terminal(websocket, tty=tty):
            if stdin:
                threading.Thread(target=_send_input, args=(websocket,), daemon=True).start()
            return _outcome(_receive(websocket))
    finally:
        websocket.close()


def _send_input(websocket: WebSocket) -> None:
    source = sys.stdin.fileno()
    try:
        while data := os.read(source, _CHUNK):
            websocket.send(bytes([STDIN]) + data)
        if websocket.protocol == V5:
            websocket.send(bytes([CLOSE, STDIN]))
    except OSError:
        return  # the session has ended


def _receive(websocket: WebSocket) -> bytes:
    """Copy output until the end; what came on the error channel."""
    outcome = b""
    targets = {STDOUT: sys.stdout.buffer, STDERR: sys.stderr.buffer}
    while message := websocket.receive():
        channel, data = message[0], message[1:]
        if channel == ERROR:
            outcome += data
            break
        target = targets.get(channel)
        if target is not None and data:
            target.write(data)
            target.flush()
    return outcome


def _outcome(data: bytes) -> int:
    """The exit code that the Status tells; a failure that is none of the command's is an error."""
    if not data:
        return 0
    status = orjson.loads(data)
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            code = int(cause["message"])
            print(f"command terminated with exit code {code}", file=sys.stderr)
            raise Exit(code)
    raise CliError(status.get("message", "the command failed"))


@contextmanager
def _terminal(websocket: WebSocket, *, tty: bool) -> Iterator[None]:
    """With a terminal: every key goes to the container, and its size follows ours."""
    if not tty:
        yield
        return
    import termios
    import tty as modes

    before = termios.tcgetattr(sys.stdin)
    # A handler would run in the middle of a receive, whose locks it needs; a thread that waits for the signal does not.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
    try:
        # Not the default, which throws away what was typed before.
        modes.setraw(sys.stdin, termios.TCSADRAIN)
        _send_size(websocket)
        threading.Thread(target=_follow_size, args=(websocket,), daemon=True).start()
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGWINCH})


def _follow_size(websocket: WebSocket) -> None:
    # Until the session has ended.
    with suppress(OSError):
        while True:
            signal.sigwait({signal.SIGWINCH})
            _send_size(websocket)


def _send_size(websocket: WebSocket) -> None:
    size = os.get_terminal_size(sys.stdin.fileno())
    websocket.send(bytes([RESIZE]) + orjson.dumps({"Width": size.columns, "Height": size.lines}))


COMMANDS = {
    "exec": Command(execute, "(POD | TYPE/NAME) [-c CONTAINER] -- COMMAND [args...]", FLAGS, """
        kubectl exec web-0 -- date
        kubectl exec -it deploy/web -- sh
    """),
    "attach": Command(attach, "(POD | TYPE/NAME) [-c CONTAINER]", FLAGS, "kubectl attach web-0 -i"),
}  # fmt: skip
