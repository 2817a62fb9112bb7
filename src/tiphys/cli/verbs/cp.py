"""`cp`: files into and out of containers, as a tar stream through the container's own `tar`.

Nothing is written outside the target: links and names that lead out of it are refused.
Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_cp/
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import orjson

from tiphys.cli import pods
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.websocket import CLOSE, ERROR, STDERR, STDIN, STDOUT, V4, V5, WebSocket

FLAGS = """
container,c str  The container; the pod's default where none is named.
no-preserve bool  Do not keep ownership and permissions.
retries int  How often to go on with an interrupted copy (accepted, not used).
"""
_CHUNK = 32 * 1024
_COMPLAINT = 4096


class Place(NamedTuple):
    """`pod` is empty for a local path."""

    namespace: str
    pod: str
    path: str


def run(call: Call) -> int:
    if len(call.args) != 2:
        raise CliError("source and destination are required")
    source, target = (_place(call, text) for text in call.args)
    if bool(source.pod) == bool(target.pod):
        raise CliError("one of src or dest must be a remote file specification")
    if not source.path or not target.path:
        raise CliError("filepath can not be empty")
    if target.pod:
        _upload(call, source.path, target)
    else:
        _download(call, source, target.path)
    return 0


def _place(call: Call, text: str) -> Place:
    head, colon, path = text.partition(":")
    if not colon or head.startswith((".", "/")):
        return Place("", "", text)
    namespace, slash, pod = head.rpartition("/")
    return Place(namespace if slash else call.namespace, pod, path)


def _upload(call: Call, source: str, target: Place) -> None:
    if not os.path.exists(source):
        raise CliError(f"{source} doesn't exist in local filesystem")
    directory, name = posixpath.split(target.path.rstrip("/"))
    if target.path.endswith("/") or _is_directory(call, target):
        directory, name = target.path.rstrip("/") or "/", os.path.basename(os.path.abspath(source))
    options = ["--no-same-permissions", "--no-same-owner"] if call.opts["no-preserve"] else []
    with _command(call, target, ["tar", *options, "-xmf", "-", "-C", directory or "/"], stdin=True) as remote:
        # A container without tar, or without room, ends early; it then says why.
        with suppress(OSError):
            with tarfile.open(fileobj=remote, mode="w|", bufsize=_CHUNK, format=tarfile.GNU_FORMAT) as tar:
                tar.add(source, arcname=name)
            remote.end_input()
        remote.finish()


def _is_directory(call: Call, place: Place) -> bool:
    try:
        with _command(call, place, ["test", "-d", place.path]) as remote:
            remote.finish()
    except CliError:
        return False
    return True


def _download(call: Call, source: Place, target: str) -> None:
    path = source.path.rstrip("/") or "/"
    base = path.lstrip("/")
    if os.path.isdir(target):
        target = os.path.join(target, posixpath.basename(path))
    with _command(call, source, ["tar", "cf", "-", path]) as remote:
        with tarfile.open(fileobj=remote, mode="r|", bufsize=_CHUNK) as tar:
            for member in tar:
                name = member.name.lstrip("/")
                if name != base and not name.startswith(base + "/"):
                    raise CliError(f"tar contents corrupted: {member.name} is not below {path}")
                inner = name[len(base) :].lstrip("/")
                _extract(call, tar, member, os.path.join(target, inner) if inner else target)
        remote.finish()


def _extract(call: Call, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    if ".." in path.split(os.sep)[1:] and ".." in member.name.split("/"):
        raise CliError(f"refusing {member.name}: it leads out of the target")
    if member.isdir():
        os.makedirs(path, exist_ok=True)
        return
    if not member.isfile():
        call.warn(f"warning: skipping {member.name}: only files and directories are copied")
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    content = tar.extractfile(member)
    assert content is not None, "a regular file has content"
    with open(path, "wb") as file:
        while chunk := content.read(_CHUNK):
            file.write(chunk)
    if not call.opts["no-preserve"]:
        os.chmod(path, member.mode & 0o777)


class _Remote:
    """A command in the container, as the file that tarfile writes or reads: its input and its output."""

    def __init__(self, websocket: WebSocket, command: list[str]) -> None:
        self._websocket, self._command = websocket, command
        self._output = bytearray()
        self._complaint, self._outcome = b"", b""
        self._ended = False

    def write(self, data: bytes) -> int:
        """Raises OSError when the command takes no more."""
        self._websocket.send(bytes([STDIN]) + data)
        return len(data)

    def end_input(self) -> None:
        self._websocket.send(bytes([CLOSE, STDIN]))

    def read(self, size: int) -> bytes:
        """Output, at the end less than `size` bytes. Raises CliError with what a failed command said."""
        while len(self._output) < size and not self._ended:
            self._receive()
        data = bytes(self._output[:size])
        del self._output[:size]
        return data

    def finish(self) -> None:
        """Wait for the end. Raises CliError with what a failed command said."""
        while not self._ended:
            self._receive()
            self._output.clear()

    def _receive(self) -> None:
        message = self._websocket.receive()
        channel = message[0] if message else ERROR
        content = message[1:] if message else b""
        if channel == STDOUT:
            self._output += content
        elif channel == STDERR:
            self._complaint = (self._complaint + content)[-_COMPLAINT:]
        elif channel == ERROR and (content or not message):
            self._ended = True
            self._judge(content)

    def _judge(self, outcome: bytes) -> None:
        if not outcome:
            raise CliError(f"the connection closed before {self._command[0]} had ended")
        status = orjson.loads(outcome)
        if status.get("status") == "Success":
            return
        why = self._complaint.decode(errors="replace").strip() or status.get("message", "")
        if "executable file not found" in why:
            why = f"the container has no {self._command[0]}, which cp needs: {why}"
        raise CliError(why)


@contextmanager
def _command(call: Call, place: Place, command: list[str], *, stdin: bool = False) -> Iterator[Any]:
    """Run a command in the container. Only v5 can say that input has ended."""
    path = f"/api/v1/namespaces/{place.namespace}/pods/{place.pod}"
    pod: dict[str, Any] = orjson.loads(call.transport.call("GET", path))
    query = {
        "container": call.opts["container"] or pods.default_container(pod), "command": command,
        "stdin": stdin, "stdout": True, "stderr": True,
    }  # fmt: skip
    protocols = [V5] if stdin else [V5, V4]
    websocket = WebSocket(*call.transport.upgrade(pods.path_of(pod, "exec"), query=query, protocols=protocols))
    try:
        yield _Remote(websocket, command)
    finally:
        websocket.close()


COMMANDS = {
    "cp": Command(run, "SRC DEST", FLAGS, """
        kubectl cp ./page.html web-0:/www/page.html
        kubectl cp web-0:/var/log/app ./log
    """),
}  # fmt: skip
