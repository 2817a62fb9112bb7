"""`rollout history` and `rollout undo` of Deployments, by the revisions that their ReplicaSets are.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_rollout/kubectl_rollout_undo/
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli import writes
from tiphys.cli.builder import Info
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.verbs.rollout import workloads

Json = dict[str, Any]
_REVISION = "deployment.kubernetes.io/revision"
_CAUSE = "kubernetes.io/change-cause"
_HASH = "pod-template-hash"
HISTORY_FLAGS = (
    FILES
    + OUTPUT
    + """
selector,l str  Label query.
revision int  Show the pods of this revision.
"""
)
UNDO_FLAGS = (
    FILES
    + OUTPUT
    + MANAGER
    + DRY_RUN
    + """
selector,l str  Label query.
to-revision int  The revision to go back to; 0 is the one before.
"""
)


def history(call: Call) -> int:
    for info in workloads(call, "deployments"):
        found = _revisions(call, info)
        if call.opts["revision"]:
            _show(call, info, found)
            continue
        call.say(f"{info.title} ")
        call.say("REVISION  CHANGE-CAUSE")
        for number in sorted(found):
            cause = (found[number]["metadata"].get("annotations") or {}).get(_CAUSE, "<none>")
            call.say(f"{number:<10}{cause}")
        call.say("")
    return 0


def _revisions(call: Call, info: Info) -> dict[int, Json]:
    """The Deployment's ReplicaSets by revision."""
    path = f"/apis/apps/v1/namespaces/{info.namespace}/replicasets"
    owned = {}
    for item in orjson.loads(call.transport.call("GET", path))["items"]:
        owners = item["metadata"].get("ownerReferences") or ()
        number = (item["metadata"].get("annotations") or {}).get(_REVISION, "")
        if number.isdigit() and any(owner["uid"] == info.obj["metadata"]["uid"] for owner in owners):
            owned[int(number)] = item
    return owned


def _show(call: Call, info: Info, found: dict[int, Json]) -> None:
    number = call.opts["revision"]
    if number not in found:
        raise CliError(f"unable to find the specified revision {number}")
    template = found[number]["spec"]["template"]
    call.say(f"{info.title} with revision #{number}")
    call.say(template_text(template))


def template_text(template: Json) -> str:
    """A pod template as `describe` shows it, but with its tabs, as upstream leaves them here."""
    from tiphys.cli.describers.pod import template as describe
    from tiphys.cli.describers.text import Text

    text = Text()
    describe(text, template)
    return text.raw()


def undo(call: Call) -> int:
    for info in workloads(call, "deployments"):
        _undo(call, info)
    return 0


def _undo(call: Call, info: Info) -> None:
    if info.obj["spec"].get("paused"):
        resume = f'"kubectl rollout resume {info.title}"'
        raise CliError(f"you cannot rollback a paused deployment; resume it first with {resume} and try again")
    found = _revisions(call, info)
    current = int((info.obj["metadata"].get("annotations") or {}).get(_REVISION, 0))
    wanted = call.opts["to-revision"] or max((number for number in found if number != current), default=0)
    if not wanted:
        raise CliError(f"no rollout history found for {info.title}")
    if wanted not in found:
        raise CliError(f"unable to find specified revision {wanted} in history")
    template: Json = orjson.loads(orjson.dumps(found[wanted]["spec"]["template"]))
    template["metadata"].get("labels", {}).pop(_HASH, None)
    if template == info.obj["spec"]["template"]:
        call.say(f"{info.title} skipped rollback (current template already matches revision {wanted})")
        return
    obj = info.obj
    if call.dry_run != "client":
        change = [{"op": "replace", "path": "/spec/template", "value": template}]
        obj = writes.patch(call, info, change, kind=writes.JSON_PATCH, manager="kubectl-rollout")
    writes.show(call, obj, "rolled back")


COMMANDS = {
    "rollout history": Command(history, "(TYPE NAME | TYPE/NAME)", HISTORY_FLAGS, "kubectl rollout history deploy/web"),
    "rollout undo": Command(undo, "(TYPE NAME | TYPE/NAME)", UNDO_FLAGS, "kubectl rollout undo deploy/web"),
}
