"""`set env`: variables of a workload's containers, set, removed, listed, or taken from a ConfigMap or Secret."""

from __future__ import annotations

import fnmatch
from typing import Any

import orjson

from tiphys.cli import builder
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.verbs.set_image import SHARED, change, pod_spec, split

Json = dict[str, Any]
FLAGS = (
    SHARED
    + """
containers,c str=*  Names of the containers, with wildcards.
env,e array  A variable as KEY=VALUE; may repeat.
from str  A ConfigMap or Secret whose keys become variables.
keys list  Only these keys of --from.
prefix str  What the names of variables of --from begin with.
list bool  Show the variables.
overwrite bool=true  Variables that are there may change.
resolve bool  Accepted, not used.
"""
)


def run(call: Call) -> int:
    words, assignments = split(call.args)
    assignments += call.opts["env"]
    if call.opts["list"]:
        return _list(call, words)
    variables = [_variable(text) for text in assignments if not text.endswith("-")]
    removed = {text[:-1] for text in assignments if text.endswith("-") and "=" not in text}
    if call.opts["from"]:
        variables += _from(call)
    if not variables and not removed:
        raise CliError("at least one environment variable must be provided")

    def edit(obj: Json) -> None:
        spec = pod_spec(obj)
        chosen = [c for c in spec.get("containers") or () if fnmatch.fnmatchcase(c["name"], call.opts["containers"])]
        if not chosen:
            raise CliError(f"{obj['metadata']['name']} has no container that matches {call.opts['containers']!r}")
        for container in chosen:
            _apply(call, container, variables, removed)

    return change(call, words, edit, "env updated")


def _variable(text: str) -> Json:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CliError(f"{text!r} is no variable: KEY=VALUE or KEY- is needed")
    return {"name": name, "value": value}


def _from(call: Call) -> list[Json]:
    info = builder.one(call, [call.opts["from"]], "configmap")
    kind = {"ConfigMap": "configMapKeyRef", "Secret": "secretKeyRef"}.get(info.resource.kind)
    if kind is None:
        raise CliError(f"unsupported resource specified in --from: {info.title}")
    keys = call.opts["keys"] or sorted(info.obj.get("data") or {})
    return [
        {
            "name": call.opts["prefix"] + key.upper().replace("-", "_").replace(".", "_"),
            "valueFrom": {kind: {"name": info.name, "key": key}},
        }
        for key in keys
    ]


def _apply(call: Call, container: Json, variables: list[Json], removed: set[str]) -> None:
    kept = [variable for variable in container.get("env") or () if variable["name"] not in removed]
    at = {variable["name"]: index for index, variable in enumerate(kept)}
    for variable in variables:
        name = variable["name"]
        if name not in at:
            at[name] = len(kept)
            kept.append(variable)
        elif not call.opts["overwrite"]:
            raise CliError(f"'{name}' already has a value, and --overwrite is false")
        else:
            kept[at[name]] = variable
    if kept:
        container["env"] = kept
    else:
        container.pop("env", None)


def _list(call: Call, words: list[str]) -> int:
    for info in builder.infos(call, builder.targets(call, words)):
        for container in pod_spec(info.obj).get("containers") or ():
            call.say(f"# {info.obj['kind']} {info.name}, container {container['name']}")
            for variable in container.get("env") or ():
                source = variable.get("valueFrom")
                shown = f"# {variable['name']} from {orjson.dumps(source).decode()}" if source else ""
                call.say(shown or f"{variable['name']}={variable.get('value', '')}")
    return 0


COMMANDS = {
    "set env": Command(run, "(TYPE NAME | TYPE/NAME) KEY=VALUE ... KEY- ...", FLAGS, """
        kubectl set env deploy/web VERSION=v2
        kubectl set env deploy/web --from=configmap/settings
        kubectl set env deploy/web --list
    """),
}  # fmt: skip
