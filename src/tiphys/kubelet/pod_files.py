"""The small files of a pod on this node: hosts, termination messages, log directories. Blocking; run on a thread."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet import network, runtime
from tiphys.kubelet.runtime import Mount

MAX_MESSAGE = 4096
_TAIL_LINES, _TAIL_BYTES = 80, 2048
_HOSTS = "/etc/hosts"


def hosts_mount(pod: Pod, container: Container, directory: Path, ips: tuple[str, ...], domain: str) -> list[Mount]:
    """Write the pod's hosts file; its mount, none where the container brings its own."""
    if any(mount.mount_path.rstrip("/") == _HOSTS for mount in container.volume_mounts):
        return []
    if pod.spec.host_network:
        if not pod.spec.host_aliases:
            return [Mount(_HOSTS, _HOSTS)]
        text = Path(_HOSTS).read_text() + network.host_aliases(pod)
    else:
        text = network.hosts_file(pod, ips, domain)
    path = directory / "etc-hosts"
    if not path.exists() or path.read_text() != text:
        # Written in place: running containers have this very file mounted.
        path.write_text(text)
        path.chmod(0o644)
    return [Mount(_HOSTS, str(path), readonly=container.security_context.read_only_root_filesystem)]


def message_path(directory: Path, name: str, attempt: int) -> Path:
    return directory / "containers" / name / f"{attempt}.message"


def message_mount(container: Container, directory: Path, attempt: int) -> list[Mount]:
    """An empty file for the termination message, writable by whoever the container runs as; and its mount."""
    if not container.termination_message_path:
        return []
    path = message_path(directory, container.name, attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o666)
    return [Mount(container.termination_message_path, str(path))]


def termination_message(directory: Path, container: runtime.Container) -> str:
    """What an ended container left to say: its message file, or the end of its log where the policy says so."""
    try:
        with message_path(directory, container.name, container.attempt).open("rb") as file:
            text = file.read(MAX_MESSAGE).decode(errors="replace")
    except FileNotFoundError:
        text = ""
    if text or container.exit_code == 0:
        return text
    if container.annotations.get(runtime.MESSAGE_POLICY) != "FallbackToLogsOnError":
        return ""
    return _log_tail(Path(container.log_path))


def _log_tail(path: Path) -> str:
    """The last lines of a CRI log, without their stamps."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - 64 * 1024))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return ""
    parts = []
    for line in lines[-_TAIL_LINES - 1 :]:
        _, _, tag, *rest = line.split(b" ", 3) if line.count(b" ") >= 2 else (b"", b"", b"", b"")
        text = rest[0] if rest else b""
        parts.append(text if tag.startswith(b"P") else text + b"\n" if tag else b"")
    return b"".join(parts)[-_TAIL_BYTES:].decode(errors="replace")


def make_directories(directory: Path, logs: Path, names: list[str]) -> None:
    """The pod's own directory and those of its containers' logs."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        (logs / name).mkdir(parents=True, exist_ok=True)


def remove_logs(logs: Path) -> None:
    shutil.rmtree(logs, ignore_errors=True)


def remove_old_messages(directory: Path, name: str, keep_from: int) -> None:
    """Message files of containers that are gone, below an attempt."""
    place = directory / "containers" / name
    if not place.is_dir():
        return
    for entry in os.listdir(place):
        number = entry.partition(".")[0]
        if number.isdigit() and int(number) < keep_from:
            (place / entry).unlink(missing_ok=True)
