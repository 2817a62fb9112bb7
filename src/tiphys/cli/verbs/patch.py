"""`patch`: fields of an object changed by a strategic, merge or JSON patch.

Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli import builder, writes
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, Call, Command
from tiphys.cli.errors import CliError

Json = dict[str, Any]
FLAGS = (
    FILES
    + DRY_RUN
    + OUTPUT
    + MANAGER
    + """
patch,p str  The patch, JSON or YAML.
patch-file str  A file with the patch.
type str=strategic  strategic, merge or json.
subresource str  status, scale or resize.
local bool  Accepted with --dry-run=client.
"""
)
_KINDS = {"strategic": writes.STRATEGIC, "merge": writes.MERGE, "json": writes.JSON_PATCH}


def run(call: Call) -> int:
    opts = call.opts
    if bool(opts["patch"]) == bool(opts["patch-file"]):
        raise CliError("must specify --patch or --patch-file containing the contents of the patch")
    if opts["type"] not in _KINDS:
        raise CliError(f'--type must be one of [json merge strategic], not "{opts["type"]}"')
    body = _body(call)
    for target in builder.targets(call, single=True):
        before = builder.get(call, target)
        if call.dry_run == "client":
            writes.show(call, before, "patched")
            continue
        kind = _KINDS[opts["type"]]
        obj = writes.patch(call, target, body, kind=kind, subresource=opts["subresource"], manager="kubectl-patch")
        changed = obj["metadata"].get("resourceVersion") != before["metadata"].get("resourceVersion")
        writes.show(call, obj, "patched" if changed else "patched (no change)")
    return 0


def _body(call: Call) -> Any:
    text = call.opts["patch"]
    if call.opts["patch-file"]:
        try:
            with open(call.opts["patch-file"], encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise CliError(f"unable to read patch file: {error}") from None
    try:
        return orjson.loads(text)
    except ValueError:
        from tiphys.cli import yamls

        try:
            return yamls.load(text)
        except ValueError as error:
            raise CliError(f"unable to parse {text!r}: {error}") from None


COMMANDS = {
    "patch": Command(run, "(-f FILENAME | TYPE NAME) [-p PATCH | --patch-file FILE]", FLAGS, """
        kubectl patch node n1 -p '{"spec":{"unschedulable":true}}'
        kubectl patch pod web-0 --type=json -p '[{"op":"remove","path":"/metadata/labels/a"}]'
    """),
}  # fmt: skip
