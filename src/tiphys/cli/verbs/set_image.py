"""`set image`, and what `set`'s verbs share: finding pod templates and patching what changed in them.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_set/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from tiphys.cli import builder, writes
from tiphys.cli.builder import Info
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, Call, Command
from tiphys.cli.errors import CliError

Json = dict[str, Any]
SHARED = (
    FILES
    + OUTPUT
    + DRY_RUN
    + MANAGER
    + """
selector,l str  Label query.
all bool  All objects of the types.
local bool  Do not ask the server; change what the files say.
"""
)


def group(call: Call) -> int:
    from tiphys.cli.help import describe

    call.say(describe("set", COMMANDS["set"]))
    return 0


def pod_spec(obj: Json) -> Json:
    """The pod spec inside a workload, a CronJob or a pod. Raises CliError for what has none."""
    spec = obj.get("spec") or {}
    if obj.get("kind") == "Pod":
        return spec
    if "jobTemplate" in spec:
        spec = spec["jobTemplate"]["spec"]
    found = (spec.get("template") or {}).get("spec")
    if found is None:
        raise CliError(f"{obj.get('kind')} {obj['metadata'].get('name', '')} has no pod template")
    template: Json = found
    return template


def split(args: list[str]) -> tuple[list[str], list[str]]:
    """Words that name objects, and `KEY=VALUE` or `KEY-` words."""
    assignments = [word for word in args if "=" in word or (word.endswith("-") and word != "-")]
    return [word for word in args if word not in assignments], assignments


def change(call: Call, words: list[str], edit: Callable[[Json], None], said: str) -> int:
    """Apply `edit` to every object that is meant, and patch what differs."""
    errors = 0
    found = list(builder.infos(call, builder.targets(call, words)))
    if not found:
        raise CliError("no objects were chosen")
    for info in found:
        new = orjson.loads(orjson.dumps(info.obj))
        edit(new)
        if new == info.obj:
            if call.opts["output"]:
                writes.show(call, new, said)
            continue
        writes.show(call, _patched(call, info, new), said)
    return errors


def _patched(call: Call, info: Info, new: Json) -> Json:
    if call.dry_run == "client" or call.opts["local"]:
        return new
    patch = difference(info.obj, new)
    return writes.patch(call, info, patch, kind=writes.MERGE, manager="kubectl-set")


def difference(old: Json, new: Json) -> Json:
    """The merge patch from `old` to `new`."""
    patch: Json = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            inner = difference(before, value)
            if inner:
                patch[key] = inner
        elif before != value:
            patch[key] = value
    return patch


def image(call: Call) -> int:
    words, assignments = split(call.args)
    if not assignments:
        raise CliError("at least one image update is required")
    wanted = dict(text.partition("=")[::2] for text in assignments)

    def edit(obj: Json) -> None:
        spec = pod_spec(obj)
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        names = {container["name"] for container in containers}
        for name in wanted:
            if name != "*" and name not in names:
                raise CliError(f'unable to find container named "{name}"')
        for container in containers:
            value = wanted.get(container["name"], wanted.get("*"))
            if value:
                container["image"] = value

    return change(call, words, edit, "image updated")


COMMANDS = {
    "set": Command(group, "SUBCOMMAND"),
    "set image": Command(image, "(-f FILENAME | TYPE NAME) CONTAINER=IMAGE ...", SHARED, """
        kubectl set image deploy/web web=web:2
        kubectl set image deploy,daemonset --all app=app:3
    """),
}  # fmt: skip
