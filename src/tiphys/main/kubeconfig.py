"""The admin kubeconfig: written for root, merged into the user's own as a context with the cluster's name."""

from __future__ import annotations

import base64
import fcntl
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tiphys.main.cluster import Cluster, Settings, write_private
from tiphys.main.pki import Pki


def entry(cluster: Cluster, settings: Settings) -> dict[str, Any]:
    """A kubeconfig with the credentials inside it, so that it can be carried elsewhere."""
    return document(cluster.name, settings.server_url, Pki(cluster.pki))


def document(name: str, url: str, pki: Pki) -> dict[str, Any]:
    def inline(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    user = f"{name}-admin"
    credentials = {
        "client-certificate-data": inline(pki.certificate("admin")), "client-key-data": inline(pki.key("admin")),
    }  # fmt: skip
    server = {"server": url, "certificate-authority-data": inline(pki.ca)}
    return {
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": name, "cluster": server}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
    }  # fmt: skip


def write(cluster: Cluster, settings: Settings) -> None:
    cluster.etc.mkdir(parents=True, exist_ok=True, mode=0o755)
    write_private(cluster.kubeconfig, yaml.safe_dump(entry(cluster, settings)).encode())


def merge_into_home(cluster: Cluster, settings: Settings) -> str:
    """Add or renew the cluster's context; it becomes the current one if there is none. The current one's name."""
    ours = entry(cluster, settings)
    with _home_config() as known:
        for field in ("clusters", "users", "contexts"):
            names = {item["name"] for item in ours[field]}
            known[field] = [item for item in known.get(field) or () if item.get("name") not in names] + ours[field]
        known["current-context"] = known.get("current-context") or cluster.name
    current: str = known["current-context"]
    return current


def remove_from_home(cluster: Cluster) -> None:
    if not _home()[0].exists():
        return
    with _home_config() as known:
        for field, name in (("clusters", cluster.name), ("users", f"{cluster.name}-admin"), ("contexts", cluster.name)):
            known[field] = [item for item in known.get(field) or () if item.get("name") != name]
        if known.get("current-context") == cluster.name:
            known["current-context"] = known["contexts"][0]["name"] if known["contexts"] else ""


@contextmanager
def _home_config() -> Iterator[dict[str, Any]]:
    """The user's kubeconfig to be changed, written afterwards.

    The commands of several clusters may run at once: each waits for the other, lest it undo what that wrote.
    """
    path, owner = _home()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        known = yaml.safe_load(path.read_text()) if path.exists() else None
        known = known if isinstance(known, dict) else {"apiVersion": "v1", "kind": "Config"}
        yield known
        write_private(path, yaml.safe_dump(known).encode())
        for made in (path, path.parent):
            os.chown(made, *owner)
    finally:
        os.close(directory)


def _home() -> tuple[Path, tuple[int, int]]:
    """The kubeconfig of the person who typed the command, also through sudo."""
    name = os.environ.get("SUDO_USER")
    person = pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid())
    home = Path(os.environ["HOME"]) if not name and "HOME" in os.environ else Path(person.pw_dir)
    return home / ".kube" / "config", (person.pw_uid, person.pw_gid)
