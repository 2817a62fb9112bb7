"""`create configmap` and `create secret generic|tls|docker-registry`."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Any

import orjson

from tiphys.cli import writes
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.verbs.create import MAKE, only_name

Json = dict[str, Any]
_SOURCES = """
from-literal array  A key and its value as KEY=VALUE; may repeat.
from-file array  A file, a directory, or KEY=FILE; may repeat.
from-env-file array  A file of KEY=VALUE lines; may repeat.
append-hash bool  Accepted, not used.
"""


def _data(call: Call) -> dict[str, bytes]:
    """Keys and contents of all sources. Raises CliError for a key that comes twice."""
    found: dict[str, bytes] = {}
    for key, value in (*_files(call), *_literals(call), *_environment(call)):
        if key in found:
            raise CliError(f'cannot add key "{key}", another key by that name already exists')
        found[key] = value
    return found


def _literals(call: Call) -> Iterator[tuple[str, bytes]]:
    for text in call.opts["from-literal"]:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CliError(f"invalid literal source {text}, expected key=value")
        yield key, value.strip("\"'").encode()


def _files(call: Call) -> Iterator[tuple[str, bytes]]:
    for text in call.opts["from-file"]:
        key, equals, path = text.partition("=")
        if not equals:
            key, path = os.path.basename(text.rstrip("/")), text
        try:
            if os.path.isdir(path):
                for name in sorted(os.listdir(path)):
                    inner = os.path.join(path, name)
                    if os.path.isfile(inner):
                        yield name, _read(inner)
            else:
                yield key, _read(path)
        except OSError as error:
            raise CliError(f"error reading {path}: {error.strerror}") from None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _environment(call: Call) -> Iterator[tuple[str, bytes]]:
    for path in call.opts["from-env-file"]:
        try:
            lines = _read(path).decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"error reading {path}: {error}") from None
        for line in lines:
            text = line.lstrip()
            if not text or text.startswith("#"):
                continue
            key, equals, value = text.partition("=")
            yield key, (value if equals else os.environ.get(key, "")).encode()


def configmap(call: Call) -> int:
    body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": only_name(call)}}
    for key, value in _data(call).items():
        try:
            body.setdefault("data", {})[key] = value.decode()
        except UnicodeDecodeError:
            body.setdefault("binaryData", {})[key] = base64.b64encode(value).decode()
    writes.made(call, body)
    return 0


def _secret(call: Call, data: dict[str, bytes], kind: str) -> int:
    body: Json = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": only_name(call)}}
    if data:
        body["data"] = {key: base64.b64encode(value).decode() for key, value in data.items()}
    if kind:
        body["type"] = kind
    writes.made(call, body)
    return 0


def secret(call: Call) -> int:
    from tiphys.cli.help import describe

    call.say(describe("create secret", COMMANDS["create secret"]))
    return 0


def generic(call: Call) -> int:
    return _secret(call, _data(call), call.opts["type"])


def tls(call: Call) -> int:
    if not call.opts["key"] or not call.opts["cert"]:
        raise CliError("key and cert must be specified")
    try:
        data = {"tls.crt": _read(call.opts["cert"]), "tls.key": _read(call.opts["key"])}
    except OSError as error:
        raise CliError(f"error reading {error.filename}: {error.strerror}") from None
    return _secret(call, data, "kubernetes.io/tls")


def docker_registry(call: Call) -> int:
    opts = call.opts
    if opts["from-file"]:
        return _secret(call, {".dockerconfigjson": _read(opts["from-file"][0])}, "kubernetes.io/dockerconfigjson")
    for flag in ("docker-username", "docker-password"):
        if not opts[flag]:
            raise CliError(f"either --from-file or the combination of --docker-username, --docker-password and "
                           f"--docker-server must be provided; --{flag} is missing")  # fmt: skip
    pair = f"{opts['docker-username']}:{opts['docker-password']}"
    entry = {"username": opts["docker-username"], "password": opts["docker-password"]}
    if opts["docker-email"]:
        entry["email"] = opts["docker-email"]
    entry["auth"] = base64.b64encode(pair.encode()).decode()
    content = orjson.dumps({"auths": {opts["docker-server"]: entry}})
    return _secret(call, {".dockerconfigjson": content}, "kubernetes.io/dockerconfigjson")


COMMANDS = {
    "create configmap": Command(configmap, "NAME [--from-file=[key=]source] [--from-literal=key=value]",
        MAKE + _SOURCES, "kubectl create configmap settings --from-literal=level=debug"),
    "create secret": Command(secret, "(docker-registry | generic | tls)"),
    "create secret generic": Command(generic, "NAME [--type=string] [--from-literal=key=value]", MAKE + _SOURCES + """
        type str  Type of the secret.
        """, "kubectl create secret generic login --from-literal=password=x"),
    "create secret tls": Command(tls, "NAME --cert=path --key=path", MAKE + """
        cert str  Path of the certificate.
        key str  Path of its key.
        append-hash bool  Accepted, not used.
        """),
    "create secret docker-registry": Command(docker_registry, "NAME --docker-username=user", MAKE + """
        docker-username str  User at the registry.
        docker-password str  Password at the registry.
        docker-email str  Address at the registry.
        docker-server str=https://index.docker.io/v1/  The registry.
        from-file array  A docker configuration file instead.
        append-hash bool  Accepted, not used.
        """),
}  # fmt: skip
