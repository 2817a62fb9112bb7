"""`config set-context|set-cluster|set-credentials|delete-*|rename-context|set|unset`: changes of kubeconfig files."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.verbs.config import loaded, write

Json = dict[str, Any]
_CONTEXT = "current bool  The current context.\n"
_CLUSTER = "embed-certs bool  Put the certificates' contents into the file.\nproxy-url str  URL of a proxy.\n"
_SINGULAR = {"contexts": "context", "clusters": "cluster", "users": "user"}


def _only(call: Call, what: str) -> str:
    if len(call.args) != 1:
        raise CliError(f"Unexpected args: exactly one {what} name is needed")
    return call.args[0]


def _entry(content: Json, plural: str, name: str) -> Json:
    """The entry of that name, made if there is none."""
    entries: list[Json] = content.setdefault(plural, [])
    for entry in entries:
        if entry.get("name") == name:
            found: Json = entry.setdefault(_SINGULAR[plural], {})
            return found
    made: Json = {"name": name, _SINGULAR[plural]: {}}
    entries.append(made)
    inner: Json = made[_SINGULAR[plural]]
    return inner


def _set(call: Call, plural: str, name: str, values: Json, said: str) -> int:
    known: dict[str, Json] = getattr(loaded(call), plural)
    origin = loaded(call).origin.get((plural, name), "")

    def change(content: Json) -> None:
        entry = _entry(content, plural, name)
        for key, value in values.items():
            if value:
                entry[key] = value

    write(call, origin, change)
    call.say(f'{said} "{name}" {"modified" if name in known else "created"}.' if plural == "contexts" else
             f'{said} "{name}" set.')  # fmt: skip
    return 0


def context(call: Call) -> int:
    name = loaded(call).current if call.opts["current"] else _only(call, "context")
    values = {"cluster": call.opts["cluster"], "user": call.opts["user"], "namespace": call.opts["namespace"]}
    return _set(call, "contexts", name, values, "Context")


def cluster(call: Call) -> int:
    opts = call.opts
    values: Json = {name: opts[name] for name in ("server", "tls-server-name", "proxy-url")}
    values["insecure-skip-tls-verify"] = opts["insecure-skip-tls-verify"]
    values |= _file(call, "certificate-authority")
    return _set(call, "clusters", _only(call, "cluster"), values, "Cluster")


def credentials(call: Call) -> int:
    opts = call.opts
    values: Json = {"token": opts["token"], "username": opts["username"], "password": opts["password"]}
    values |= _file(call, "client-certificate") | _file(call, "client-key")
    return _set(call, "users", _only(call, "user"), values, "User")


def _file(call: Call, flag: str) -> Json:
    path = call.opts[flag]
    if not path or not call.opts["embed-certs"]:
        return {flag: path}
    try:
        with open(path, "rb") as file:
            return {f"{flag}-data": base64.b64encode(file.read()).decode()}
    except OSError as error:
        raise CliError(f"could not read {flag} data from {path}: {error.strerror}") from None


def _delete(plural: str) -> Callable[[Call], int]:
    def run(call: Call) -> int:
        name = _only(call, _SINGULAR[plural])
        known = loaded(call)
        path = known.origin.get((plural, name))
        if path is None:
            files = ", ".join(sorted(set(known.origin.values())))
            raise CliError(f"cannot delete {_SINGULAR[plural]} {name}, not in {files}")

        def change(content: Json) -> None:
            content[plural] = [entry for entry in content.get(plural) or () if entry.get("name") != name]

        write(call, path, change)
        call.say(f"deleted {_SINGULAR[plural]} {name} from {path}")
        return 0

    return run


def rename(call: Call) -> int:
    if len(call.args) != 2:
        raise CliError("Unexpected args: the old and the new name are needed")
    old, new = call.args
    known = loaded(call)
    if old not in known.contexts:
        files = ", ".join(sorted(set(known.origin.values())))
        raise CliError(f'cannot rename the context "{old}", it\'s not in {files}')
    if new in known.contexts:
        raise CliError(f'cannot rename the context "{old}", the context "{new}" already exists')

    def change(content: Json) -> None:
        for entry in content.get("contexts") or ():
            if entry.get("name") == old:
                entry["name"] = new
        if content.get("current-context") == old:
            content["current-context"] = new

    write(call, known.origin["contexts", old], change)
    call.say(f'Context "{old}" renamed to "{new}".')
    return 0


def set_value(call: Call) -> int:
    if len(call.args) != 2:
        raise CliError("Unexpected args: PROPERTY_NAME and PROPERTY_VALUE are needed")
    _property(call, call.args[0], call.args[1])
    call.say(f'Property "{call.args[0]}" set.')
    return 0


def unset(call: Call) -> int:
    if len(call.args) != 1:
        raise CliError("Unexpected args: PROPERTY_NAME is needed")
    _property(call, call.args[0], None)
    call.say(f'Property "{call.args[0]}" unset.')
    return 0


def _property(call: Call, path: str, value: str | None) -> None:
    """`current-context`, or `contexts.NAME.namespace` and the like; a name may have dots."""
    plural, _, rest = path.partition(".")

    def change(content: Json) -> None:
        if not rest:
            target, key = content, plural
        elif plural in _SINGULAR:
            name, _, key = rest.rpartition(".")
            target = _entry(content, plural, name)
        else:
            raise CliError(f"{path!r} is no property of a kubeconfig")
        if value is None:
            target.pop(key, None)
        else:
            target[key] = value

    write(call, "", change)


COMMANDS = {
    "config set-context": Command(context, "[NAME | --current] [--namespace=namespace]", _CONTEXT),
    "config set-cluster": Command(cluster, "NAME [--server=server]", _CLUSTER),
    "config set-credentials": Command(credentials, "NAME [--token=token]", _CLUSTER),
    "config delete-context": Command(_delete("contexts"), "NAME"),
    "config delete-cluster": Command(_delete("clusters"), "NAME"),
    "config delete-user": Command(_delete("users"), "NAME"),
    "config rename-context": Command(rename, "OLD NEW"),
    "config set": Command(set_value, "PROPERTY_NAME PROPERTY_VALUE"),
    "config unset": Command(unset, "PROPERTY_NAME"),
}
