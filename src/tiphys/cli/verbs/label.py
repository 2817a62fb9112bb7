"""`label` and `annotate`: set, change and remove them.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_label/
"""

from __future__ import annotations

from typing import Any

from tiphys.cli import builder, writes
from tiphys.cli.builder import Info
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, SELECT, Call, Command
from tiphys.cli.errors import CliError

Json = dict[str, Any]
FLAGS = (
    FILES
    + SELECT
    + OUTPUT
    + DRY_RUN
    + MANAGER
    + """
overwrite bool  What is there may change.
list bool  Show them.
local bool  Do not ask the server; change what the files say.
resource-version str  Only if this is the version now.
"""
)


def label(call: Call) -> int:
    return _run(call, "labels", "label", "labeled")


def annotate(call: Call) -> int:
    return _run(call, "annotations", "annotation", "annotated")


def _run(call: Call, field: str, noun: str, said: str) -> int:
    words, wanted, removed = _split(call.args, noun)
    found = list(builder.infos(call, builder.targets(call, words, single=True)))
    if not found:
        raise CliError("no matching resources found" if words else "one or more resources must be specified")
    if call.opts["list"]:
        for info in found:
            for key, value in sorted((info.obj["metadata"].get(field) or {}).items()):
                call.say(f"{key}={value}")
        return 0
    if not wanted and not removed:
        raise CliError(f"at least one {noun} update is required")
    for info in found:
        _change(call, info, field, (noun, said), wanted, removed)
    return 0


def _split(args: list[str], noun: str) -> tuple[list[str], dict[str, str], list[str]]:
    words: list[str] = []
    wanted: dict[str, str] = {}
    removed: list[str] = []
    for word in args:
        key, equals, value = word.partition("=")
        if equals and key:
            wanted[key] = value
        elif word.endswith("-") and len(word) > 1:
            removed.append(word[:-1])
        elif wanted or removed:
            raise CliError(f"all resources must be specified before {noun} changes: {word}")
        else:
            words.append(word)
    both = sorted(set(wanted) & set(removed))
    if both:
        raise CliError(f"can not both modify and remove {'a' if noun == 'label' else 'an'} {noun} in the same command")
    return words, wanted, removed


def _change(
    call: Call, info: Info, field: str, words: tuple[str, str], wanted: dict[str, str], removed: list[str]
) -> None:
    noun, said = words
    present = info.obj["metadata"].get(field) or {}
    if not call.opts["overwrite"]:
        for key, value in wanted.items():
            if key in present and present[key] != value:
                raise CliError(f"'{key}' already has a value ({present[key]}), and --overwrite is false")
    for key in removed:
        if key not in present:
            call.say(f'{noun} "{key}" not found.')
    gone = [key for key in removed if key in present]
    if all(present.get(key) == value for key, value in wanted.items()) and not gone:
        writes.show(call, info.obj, said if noun == "annotation" or not removed else f"not {said}")
        return
    meta: Json = {field: {**wanted, **dict.fromkeys(gone)}}
    if call.opts["resource-version"]:
        meta["resourceVersion"] = call.opts["resource-version"]
    obj = info.obj
    if call.dry_run != "client" and not call.opts["local"]:
        obj = writes.patch(call, info, {"metadata": meta}, kind=writes.MERGE, manager=f"kubectl-{_VERB[noun]}")
    else:
        obj["metadata"][field] = {k: v for k, v in {**present, **wanted}.items() if k not in gone}
    writes.show(call, obj, said if wanted or noun == "annotation" else f"un{said}")


_VERB = {"label": "label", "annotation": "annotate"}
COMMANDS = {
    "label": Command(label, "(-f FILENAME | TYPE NAME) KEY=VALUE ... KEY- ...", FLAGS, """
        kubectl label pod web-0 tier=front
        kubectl label pods --all status=new --overwrite
        kubectl label pod web-0 tier-
    """),
    "annotate": Command(annotate, "(-f FILENAME | TYPE NAME) KEY=VALUE ... KEY- ...", FLAGS, """
        kubectl annotate deploy web note='a text'
    """),
}  # fmt: skip
