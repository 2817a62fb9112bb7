"""`wait`: until a condition holds, a path has a value, or an object is made or gone.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_wait/
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson

from tiphys.api.jsonpath import PathError, compile_path
from tiphys.cli import builder, deletion
from tiphys.cli.builder import Info, Target
from tiphys.cli.command import FILES, SELECT, Call, Command
from tiphys.cli.errors import CliError, ServerError

Json = dict[str, Any]
FLAGS = (
    FILES
    + SELECT
    + """
for str  What to wait for: create, delete, condition=NAME[=VALUE] or jsonpath={PATH}[=VALUE].
timeout time=30s  How long to wait; 0 looks once, a negative one is a week.
output,o str  Format: name.
local bool  Look at the file only.
"""
)
_WEEK = 7 * 24 * 3600.0
_PAUSE = 0.05


def run(call: Call) -> int:
    wanted = call.opts["for"]
    deadline = time.monotonic() + (call.opts["timeout"] if call.opts["timeout"] >= 0 else _WEEK)
    if wanted == "create":
        _until_made(call, deadline)
        for info in builder.infos(call, builder.targets(call), []):
            call.say(f"{info.title} condition met")
        return 0
    test = None if wanted == "delete" else _test(wanted)
    found: list[Info] = []
    errors: list[Exception] = []
    for target in builder.targets(call):
        try:
            found += builder.infos(call, [target], errors)
        except ServerError as error:
            errors.append(error)
    missing = [error for error in errors if isinstance(error, ServerError) and error.code == 404]
    if errors and not (wanted == "delete" and len(missing) == len(errors)):
        raise errors[0]
    if not found and not errors:
        raise CliError("no matching resources found")
    for info in found:
        if test is None:
            deletion.wait_gone(call, info, info.obj["metadata"].get("uid", ""), max(deadline - time.monotonic(), 0.001))
        else:
            _until(call, info, test, deadline)
        call.say(f"{info.title} condition met")
    return 0


def _until_made(call: Call, deadline: float) -> None:
    """Nothing can be watched by a name of any type, so the object is asked for again and again."""
    while True:
        try:
            errors: list[Exception] = []
            found = builder.infos(call, builder.targets(call), errors)
            if found and not errors:
                return
        except ServerError as error:
            if error.code != 404:
                raise
        if time.monotonic() > deadline:
            raise CliError("timed out waiting for the condition")
        time.sleep(_PAUSE * 4)


def _test(wanted: str) -> Callable[[Json], bool]:
    kind, _, rest = wanted.partition("=")
    if kind == "condition" and rest:
        name, _, value = rest.partition("=")
        return lambda obj: _condition(obj, name.lower(), (value or "true").lower())
    if kind == "jsonpath" and rest:
        return _path_test(rest)
    raise CliError(f'unrecognized condition: "{wanted}"')


def _condition(obj: Json, name: str, value: str) -> bool:
    generation = obj["metadata"].get("generation", 0)
    status = obj.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"].lower() == name:
            observed = condition.get("observedGeneration", status.get("observedGeneration", generation))
            return bool(condition["status"].lower() == value and (not observed or observed >= generation))
    return False


def _path_test(text: str) -> Callable[[Json], bool]:
    path, close, value = text.partition("}")
    value = value.removeprefix("=").strip("'\"")
    if not close:
        path, _, value = text.partition("=")
    try:
        find = compile_path(path.strip("{}'\""))
    except PathError as error:
        raise CliError(str(error)) from None

    def test(obj: Json) -> bool:
        found = find(obj)
        if not value:
            return bool(found)
        return len(found) == 1 and _shown(found[0]) == value

    return test


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _until(call: Call, info: Info, test: Callable[[Json], bool], deadline: float) -> None:
    if test(info.obj):
        return
    left = deadline - time.monotonic()
    query = {
        "fieldSelector": f"metadata.name={info.name}", "watch": True, "timeoutSeconds": max(1, int(left)),
        "resourceVersion": info.obj["metadata"].get("resourceVersion", ""),
    }  # fmt: skip
    for line in call.transport.lines(Target(info.resource, info.namespace, "").path, query=query) if left > 0 else ():
        event = orjson.loads(line)
        if event["type"] == "DELETED":
            raise CliError(f"{info.title} was deleted")
        if event["type"] in ("ADDED", "MODIFIED") and test(event["object"]):
            return
    raise CliError(f"timed out waiting for the condition on {info.title}")


COMMANDS = {
    "wait": Command(run, "([-f FILENAME] | TYPE/NAME | TYPE -l label) --for=...", FLAGS, """
        kubectl wait --for=condition=Ready pod/web-0
        kubectl wait --for=delete pod/web-0 --timeout=60s
    """),
}  # fmt: skip
