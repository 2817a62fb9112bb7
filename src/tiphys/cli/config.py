"""kubeconfig: the files of `--kubeconfig`, `$KUBECONFIG` or `~/.kube/config` merged, and what they say of a connection.

YAML is slow to read, so each file's content is kept as JSON under `~/.kube/cache/tiphys` (0600, as it holds the same
secrets), valid while the file's time, size and inode stay what they were.
Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import os
from typing import Any

import orjson

from tiphys.cli.errors import CliError

Json = dict[str, Any]
_PARTS = (("clusters", "cluster"), ("contexts", "context"), ("users", "user"))


class Kubeconfig:
    """Merged content. `clusters`, `contexts` and `users` are by name; `origin` tells the file of each entry."""

    def __init__(self) -> None:
        self.clusters: dict[str, Json] = {}
        self.contexts: dict[str, Json] = {}
        self.users: dict[str, Json] = {}
        self.current = ""
        self.origin: dict[tuple[str, str], str] = {}
        self.current_origin = ""

    def merge(self, path: str, content: Json) -> None:
        """Take from `content` what no earlier file has said; relative paths are of the file's directory."""
        for plural, singular in _PARTS:
            known: dict[str, Json] = getattr(self, plural)
            for entry in content.get(plural) or ():
                name = entry.get("name", "")
                if name not in known:
                    known[name] = _located(entry.get(singular) or {}, path)
                    self.origin[plural, name] = path
        if not self.current and content.get("current-context"):
            self.current = content["current-context"]
            self.current_origin = path


def _located(entry: Json, path: str) -> Json:
    entry = dict(entry)
    for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
        if entry.get(key) and not os.path.isabs(entry[key]):
            entry[key] = os.path.join(os.path.dirname(os.path.abspath(path)), entry[key])
    return entry


def paths(explicit: str = "") -> list[str]:
    """The files to merge, the first one winning."""
    if explicit:
        return [explicit]
    listed = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    return list(dict.fromkeys(listed)) or [os.path.join(os.path.expanduser("~"), ".kube", "config")]


def load(explicit: str = "") -> Kubeconfig:
    """Raises CliError for a file that was named and is not there, or that does not parse."""
    merged = Kubeconfig()
    for path in paths(explicit):
        content = read(path)
        if content is not None:
            merged.merge(path, content)
        elif explicit:
            raise CliError(f"stat {path}: no such file or directory")
    return merged


def cache_directory() -> str:
    return os.path.join(os.path.expanduser("~"), ".kube", "cache", "tiphys")


def read(path: str) -> Json | None:
    """A file's content; None where there is none. Raises CliError for one that is not a kubeconfig."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    stamp = f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"
    cached = os.path.join(cache_directory(), "kubeconfig", os.path.abspath(path).replace("/", "_") + ".json")
    known = load_cache(cached)
    if known is not None and known.get("stamp") == stamp:
        content: Json = known["content"]
        return content
    content = _parse(path)
    save_cache(cached, {"stamp": stamp, "content": content})
    return content


def _parse(path: str) -> Json:
    from tiphys.cli import yamls

    try:
        with open(path, encoding="utf-8") as file:
            content = yamls.load(file.read())
    except (OSError, ValueError) as error:
        raise CliError(f'error loading config file "{path}": {error}') from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CliError(f'error loading config file "{path}": it is not a mapping')
    return content


def load_cache(path: str) -> Json | None:
    """What `save_cache` put there; None where nothing readable is. A cache may always be lost."""
    try:
        with open(path, "rb") as file:
            found = orjson.loads(file.read())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def save_cache(path: str, content: Json) -> None:
    """Put `content` there at once (rename), readable by the owner only. A read-only home is no failure."""
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps(content))
        os.replace(temporary, path)
    except OSError:
        return


class Connection:
    """How to reach a cluster, and as whom. Values are as kubeconfig has them: paths, or base64 in `*_data`."""

    def __init__(self, config: Kubeconfig, options: Json) -> None:
        name = options.get("context") or config.current
        context = config.contexts.get(name) or {}
        if name and name not in config.contexts and (options.get("context") or not options.get("server")):
            raise CliError(f"Error in configuration: context was not found for specified context: {name}", plain=True)
        cluster = self._entry(config.clusters, options.get("cluster") or context.get("cluster"), "cluster")
        user = self._entry(config.users, options.get("user") or context.get("user"), "auth info")
        self.context = name
        self.namespace: str = options.get("namespace") or context.get("namespace") or "default"
        self.server: str = options.get("server") or cluster.get("server") or "http://localhost:8080"
        if "://" not in self.server:
            self.server = f"http://{self.server}"
        self.insecure = bool(options.get("insecure-skip-tls-verify") or cluster.get("insecure-skip-tls-verify"))
        self.ca: str = options.get("certificate-authority") or cluster.get("certificate-authority") or ""
        self.ca_data: str = "" if self.ca else cluster.get("certificate-authority-data") or ""
        self.server_name: str = options.get("tls-server-name") or cluster.get("tls-server-name") or ""
        self.user = self._credentials(user, options)
        self.groups: list[str] = options.get("as-group") or user.get("as-groups") or []
        self.impersonate: str = options.get("as") or user.get("as") or ""
        self.impersonate_uid: str = options.get("as-uid") or user.get("as-uid") or ""

    @staticmethod
    def _entry(known: dict[str, Json], name: str | None, what: str) -> Json:
        if not name:
            return {}
        if name not in known:
            raise CliError(f'{what} "{name}" does not exist')
        return known[name]

    @staticmethod
    def _credentials(user: Json, options: Json) -> Json:
        user = dict(user)
        if options.get("token"):
            user.pop("tokenFile", None)
        elif user.get("tokenFile"):
            with open(user["tokenFile"], encoding="utf-8") as file:
                user["token"] = file.read().strip()
        for key in ("token", "client-certificate", "client-key", "username", "password"):
            if options.get(key):
                user[key] = options[key]
                user.pop(f"{key}-data", None)
        return user
