"""`taint`: the taints of nodes, set and removed.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

from typing import Any

from tiphys.cli import builder, writes
from tiphys.cli.command import DRY_RUN, MANAGER, OUTPUT, VALIDATE, Call, Command
from tiphys.cli.errors import CliError

Json = dict[str, Any]
FLAGS = (
    DRY_RUN
    + OUTPUT
    + MANAGER
    + VALIDATE
    + """
selector,l str  Label query.
all bool  All nodes.
overwrite bool  A taint that is there may change its value.
"""
)
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def run(call: Call) -> int:
    words = [word for word in call.args if not _is_taint(word)]
    changes = [word for word in call.args if _is_taint(word)]
    if not changes:
        raise CliError("at least one taint update is required")
    for info in builder.infos(call, builder.targets(call, words, single=True)):
        if info.resource.plural != "nodes":
            raise CliError(f"invalid resource type {info.resource.plural}, only nodes can be tainted")
        old = (info.obj.get("spec") or {}).get("taints") or []
        new = _changed(call, old, changes)
        obj = info.obj
        if call.dry_run != "client":
            body = {"spec": {"taints": new or None}}
            obj = writes.patch(call, info, body, kind=writes.MERGE, manager="kubectl-taint")
        added = any(not change.endswith("-") for change in changes)
        writes.show(call, obj, "tainted" if added else "untainted")
    return 0


def _is_taint(word: str) -> bool:
    return ":" in word or "=" in word or (word.endswith("-") and len(word) > 1)


def _changed(call: Call, old: list[Json], changes: list[str]) -> list[Json]:
    taints = list(old)
    for change in changes:
        if change.endswith("-"):
            key, _, effect = change[:-1].partition(":")
            key = key.partition("=")[0]
            kept = [t for t in taints if t["key"] != key or (effect and t["effect"] != effect)]
            if len(kept) == len(taints):
                raise CliError(f'taint "{change[:-1]}" not found')
            taints = kept
            continue
        head, colon, effect = change.rpartition(":")
        if not colon or effect not in _EFFECTS:
            raise CliError(f"invalid taint effect: {effect or change}, unsupported taint effect")
        key, _, value = head.partition("=")
        same = [taint for taint in taints if (taint["key"], taint["effect"]) == (key, effect)]
        if same and not call.opts["overwrite"] and same[0].get("value", "") != value:
            raise CliError(f"node already has {key} taint(s) with same effect(s) and --overwrite is false")
        taints = [taint for taint in taints if taint not in same]
        taints.append({"key": key, "effect": effect, **({"value": value} if value else {})})
    return taints


COMMANDS = {
    "taint": Command(run, "NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ...", FLAGS, """
        kubectl taint node n1 dedicated=db:NoSchedule
        kubectl taint node n1 dedicated:NoSchedule-
    """),
}  # fmt: skip
