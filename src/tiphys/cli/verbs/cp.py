"""`cp`: files into and out of containers, as a tar stream through the container's own `tar`.

Nothing is written outside the target: links and names that lead out of it are refused.
Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_cp/
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
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
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(source, arcname=name)
    options = ["--no-same-permissions", "--no-same-owner"] if call.opts["no-preserve"] else []
    # Protocols before v5 cannot say that input has ended, so `head` ends it where the archive does.
    script = 'size=$1; shift; head -c "$size" | exec tar "$@"'
    command = ["sh", "-c", script, "cp", str(len(archive.getvalue())), *options, "-xmf", "-", "-C", directory or "/"]
    _tar(call, target, command, archive.getvalue())


def _is_directory(call: Call, place: Place) -> bool:
    try:
        _tar(call, place, ["test", "-d", place.path], None)
    except CliError:
        return False
    return True


def _download(call: Call, source: Place, target: str) -> None:
    path = source.path.rstrip("/") or "/"
    data = _tar(call, source, ["tar", "cf", "-", path], None)
    base = path.lstrip("/")
    if os.path.isdir(target):
        target = os.path.join(target, posixpath.basename(path))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            name = member.name.lstrip("/")
            if name != base and not name.startswith(base + "/"):
                raise CliError(f"tar contents corrupted: {member.name} is not below {path}")
            _extract(call, tar, member, os.path.join(target, name[len(base) :].lstrip("/")) if name != base else target)


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


def _tar(call: Call, place: Place, command: list[str], data: bytes | None) -> bytes:
    """Run a command in the container with `data` as its input; its output. Raises CliError with what it said."""
    path = f"/api/v1/namespaces/{place.namespace}/pods/{place.pod}"
    pod: dict[str, Any] = orjson.loads(call.transport.call("GET", path))
    query = {
        "container": call.opts["container"] or pods.default_container(pod), "command": command,
        "stdin": data is not None, "stdout": True, "stderr": True,
    }  # fmt: skip
    sock, protocol = call.transport.upgrade(pods.path_of(pod, "exec"), query=query, protocols=[V5, V4])
    websocket = WebSocket(sock, protocol)
    try:
        if data is not None:
            for at in range(0, len(data), _CHUNK):
                websocket.send(bytes([STDIN]) + data[at : at + _CHUNK])
            if protocol == V5:
                websocket.send(bytes([CLOSE, STDIN]))
        return _collect(websocket, command)
    finally:
        websocket.close()


def _collect(websocket: WebSocket, command: list[str]) -> bytes:
    output: list[bytes] = []
    complaint, outcome = b"", b""
    while message := websocket.receive():
        if message[0] == STDOUT:
            output.append(message[1:])
        elif message[0] == STDERR:
            complaint += message[1:]
        elif message[0] == ERROR:
            outcome += message[1:]
            break
    if outcome and orjson.loads(outcome).get("status") != "Success":
        why = complaint.decode(errors="replace").strip() or orjson.loads(outcome).get("message", "")
        if "not found" in why and ("tar" in why or "head" in why):
            why = f"cp needs sh, head and tar in the container: {why}"
        elif "executable file not found" in why or ("no such file" in why.lower() and command[0] in why):
            why = f"the container has no {command[0]}, which cp needs: {why}"
        raise CliError(why)
    return b"".join(output)


COMMANDS = {
    "cp": Command(run, "SRC DEST", FLAGS, """
        kubectl cp ./page.html web-0:/www/page.html
        kubectl cp web-0:/var/log/app ./log
    """),
}  # fmt: skip
