"""`config view|current-context|get-contexts|get-clusters|get-users|use-context`: the merged kubeconfig.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_config/
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli import config
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.tabs import align

Json = dict[str, Any]
VIEW_FLAGS = """
minify bool  Only what the current context needs.
raw bool  Do not hide certificates and keys.
flatten bool  Accepted; files are left as they are.
merge bool=true  Accepted.
output,o str=yaml  Format: yaml, json or jsonpath=...
template str  Template of -o jsonpath.
allow-missing-template-keys bool=true  A template may name fields that are not there.
show-managed-fields bool  Accepted.
"""
LIST_FLAGS = """
output,o str  Format: name.
no-headers bool  Print no line of headers.
"""
_HIDDEN = {
    **dict.fromkeys(("certificate-authority-data", "client-certificate-data", "client-key-data"), "DATA+OMITTED"),
    **dict.fromkeys(("token", "password"), "REDACTED"),
}


def group(call: Call) -> int:
    from tiphys.cli.help import describe

    call.say(describe("config", COMMANDS["config"]))
    return 0


def loaded(call: Call) -> config.Kubeconfig:
    return config.load(call.opts.get("kubeconfig", ""))


def view(call: Call) -> int:
    known = loaded(call)
    contexts, clusters, users = known.contexts, known.clusters, known.users
    current = call.opts["context"] or known.current
    if call.opts["minify"]:
        context = contexts.get(current)
        if context is None:
            raise CliError("cannot locate context " + repr(current))
        contexts = {current: context}
        clusters = {name: value for name, value in clusters.items() if name == context.get("cluster")}
        users = {name: value for name, value in users.items() if name == context.get("user")}
    shown: Json = {
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": current,
        "clusters": [{"name": name, "cluster": _shown(call, value)} for name, value in sorted(clusters.items())],
        "contexts": [{"name": name, "context": value} for name, value in sorted(contexts.items())],
        "users": [{"name": name, "user": _shown(call, value)} for name, value in sorted(users.items())],
    }  # fmt: skip
    from tiphys.cli.printers import make

    call.out.write(make(call.opts)(shown))
    return 0


def _shown(call: Call, entry: Json) -> Json:
    if call.opts["raw"]:
        return entry
    return {key: _HIDDEN.get(key, value) for key, value in entry.items()}


def current(call: Call) -> int:
    name = loaded(call).current
    if not name:
        raise CliError("current-context is not set")
    call.say(name)
    return 0


def contexts(call: Call) -> int:
    known = loaded(call)
    missing = [name for name in call.args if name not in known.contexts]
    if missing:
        raise CliError(f"context {missing[0]} not found")
    names = sorted(call.args or known.contexts)
    if call.opts["output"] == "name":
        for name in names:
            call.say(name)
        return 0
    rows = [] if call.opts["no-headers"] else ["CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE"]
    for name in names:
        context = known.contexts[name]
        mark = "*" if name == known.current else ""
        fields = (context.get("cluster", ""), context.get("user", ""), context.get("namespace", ""))
        rows.append("\t".join([mark, name, *fields]))
    call.out.write(align("\n".join(rows) + "\n", minimum=6, padding=3))
    return 0


def clusters(call: Call) -> int:
    return _names(call, loaded(call).clusters)


def users(call: Call) -> int:
    return _names(call, loaded(call).users)


def _names(call: Call, known: dict[str, Json]) -> int:
    call.say("NAME")
    for name in sorted(known):
        call.say(name)
    return 0


def use(call: Call) -> int:
    if len(call.args) != 1:
        raise CliError("Unexpected args: exactly one context name is needed")
    (name,) = call.args
    known = loaded(call)
    if name not in known.contexts:
        raise CliError(f'no context exists with the name: "{name}"')
    write(call, known.current_origin, lambda content: content.__setitem__("current-context", name))
    call.say(f'Switched to context "{name}".')
    return 0


def write(call: Call, path: str, change: Any) -> None:
    """Change one kubeconfig file; `path` "" is the first that would be read."""
    import os

    from tiphys.cli import yamls

    path = path or config.paths(call.opts.get("kubeconfig", ""))[0]
    content = orjson.loads(orjson.dumps(config.read(path) or {"apiVersion": "v1", "kind": "Config"}))
    change(content)
    os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(yamls.dump(content))
    os.replace(temporary, path)


COMMANDS = {
    "config": Command(group, "SUBCOMMAND"),
    "config view": Command(view, "", VIEW_FLAGS, "kubectl config view --minify"),
    "config current-context": Command(current, ""),
    "config get-contexts": Command(contexts, "[NAME...]", LIST_FLAGS),
    "config get-clusters": Command(clusters, ""),
    "config get-users": Command(users, ""),
    "config use-context": Command(use, "CONTEXT", "", "kubectl config use-context tiphys"),
}
