"""`apply view-last-applied|set-last-applied|edit-last-applied`: the annotation that client-side apply keeps."""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli import builder, writes
from tiphys.cli.builder import Info
from tiphys.cli.command import DRY_RUN, FILES, OUTPUT, SELECT, Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.printers import to_json
from tiphys.cli.writes import LAST_APPLIED

Json = dict[str, Any]


def view(call: Call) -> int:
    output = call.opts["output"] or "yaml"
    if output not in ("yaml", "json"):
        raise CliError(f"Unexpected -o output mode: {output}, the flag 'output' must be one of yaml|json")
    for info in builder.infos(call, builder.targets(call)):
        text = _recorded(info)
        if output == "json":
            call.out.write(to_json(orjson.loads(text), 2))
        else:
            from tiphys.cli import yamls

            call.out.write(yamls.dump(orjson.loads(text)))
    return 0


def _recorded(info: Info) -> str:
    text = (info.obj["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if text is None:
        raise CliError(f"no last-applied-configuration annotation found on resource: {info.name}")
    return str(text)


def set_last(call: Call) -> int:
    if not call.opts["filename"]:
        raise CliError("must specify one of -f and -k")
    for target in builder.targets(call):
        live = builder.get(call, target)
        known = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
        if known is None and not call.opts["create-annotation"]:
            raise CliError(f"no last-applied-configuration annotation found on resource: {target.name}, to create the "
                           "annotation, run the command with --create-annotation")  # fmt: skip
        text = writes.last_applied(target.obj or {})
        if text == known:
            writes.show(call, live, "unchanged")
            continue
        body = {"metadata": {"annotations": {LAST_APPLIED: text}}}
        obj = live if call.dry_run == "client" else writes.patch(call, target, body, manager="kubectl-last-applied")
        writes.show(call, obj, "configured")
    return 0


def edit_last(call: Call) -> int:
    from tiphys.cli import yamls
    from tiphys.cli.verbs.edit import open_editor

    found = list(builder.infos(call, builder.targets(call)))
    if any(LAST_APPLIED not in (info.obj["metadata"].get("annotations") or {}) for info in found):
        raise CliError("no last-applied-configuration annotation found on resources, to create the annotation, use "
                       "command `kubectl apply set-last-applied --create-annotation`")  # fmt: skip
    for info in found:
        before = yamls.dump(orjson.loads(_recorded(info)))
        after = open_editor(before, ".yaml")
        if after == before:
            call.say("Edit cancelled, no changes made.")
            continue
        text = to_json(yamls.load(after), None) + "\n"
        obj = writes.patch(call, info, {"metadata": {"annotations": {LAST_APPLIED: text}}})
        writes.show(call, obj, "edited")
    return 0


COMMANDS = {
    "apply view-last-applied": Command(view, "(TYPE [NAME | -l label] | TYPE/NAME | -f FILENAME)", FILES + SELECT + """
        output,o str  Format: yaml or json.
        """, "kubectl apply view-last-applied deploy/web"),
    "apply set-last-applied": Command(set_last, "-f FILENAME", FILES + DRY_RUN + OUTPUT + """
        create-annotation bool  Make the annotation where there is none.
        """, "kubectl apply set-last-applied -f web.yaml --create-annotation"),
    "apply edit-last-applied": Command(edit_last, "(TYPE/NAME | -f FILENAME)", FILES + SELECT + OUTPUT,
                                       "kubectl apply edit-last-applied deploy/web"),
}  # fmt: skip
