"""`set resources|selector|serviceaccount|subject`."""

from __future__ import annotations

import fnmatch
from typing import Any

from tiphys.cli import builder, writes
from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError
from tiphys.cli.verbs.create_rbac import SUBJECTS, subjects
from tiphys.cli.verbs.set_image import SHARED, change, pod_spec

Json = dict[str, Any]


def _amounts(text: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in text.split(",") if word)


def resources(call: Call) -> int:
    limits, requests = _amounts(call.opts["limits"]), _amounts(call.opts["requests"])
    if not limits and not requests:
        raise CliError("you must specify an update to requests or limits (in the form of --requests/--limits)")

    def edit(obj: Json) -> None:
        for container in pod_spec(obj).get("containers") or ():
            if fnmatch.fnmatchcase(container["name"], call.opts["containers"]):
                found = container.setdefault("resources", {})
                for field, wanted in (("limits", limits), ("requests", requests)):
                    if wanted:
                        found.setdefault(field, {}).update(wanted)

    return change(call, call.args, edit, "resource requirements updated")


def selector(call: Call) -> int:
    *words, text = call.args
    wanted = _amounts(text)

    def edit(obj: Json) -> None:
        if obj.get("kind") != "Service":
            raise CliError(f"setting a selector is only supported for Services, not {obj.get('kind')}")
        obj["spec"]["selector"] = wanted

    return change(call, words, edit, "selector updated")


def service_account(call: Call) -> int:
    if len(call.args) < 2:
        raise CliError("serviceaccount is required")
    *words, name = call.args

    def edit(obj: Json) -> None:
        pod_spec(obj)["serviceAccountName"] = name
        pod_spec(obj)["serviceAccount"] = name

    return change(call, words, edit, "serviceaccount updated")


def subject(call: Call) -> int:
    wanted = subjects(call)
    if not wanted:
        raise CliError("you must specify at least one value of user, group or serviceaccount")
    for info in builder.infos(call, builder.targets(call)):
        present = [*(info.obj.get("subjects") or ())]
        present += [found for found in wanted if found not in present]
        obj: Json = {**info.obj, "subjects": present}
        if call.dry_run != "client":
            obj = writes.patch(call, info, {"subjects": present}, kind=writes.MERGE, manager="kubectl-set")
        writes.show(call, obj, "subjects updated")
    return 0


COMMANDS = {
    "set resources": Command(resources, "(-f FILENAME | TYPE NAME) [--limits=...] [--requests=...]", SHARED + """
        containers,c str=*  Names of the containers, with wildcards.
        limits str  Limits as KEY=VALUE, separated by commas.
        requests str  Requests as KEY=VALUE, separated by commas.
        """, "kubectl set resources deploy/web --limits=cpu=200m,memory=128Mi"),
    "set selector": Command(selector, "TYPE NAME EXPRESSION", SHARED + "resource-version str  Accepted.\n"),
    "set serviceaccount": Command(service_account, "(-f FILENAME | TYPE NAME) SERVICE_ACCOUNT", SHARED),
    "set subject": Command(subject, "(-f FILENAME | TYPE NAME) [--user=user]", SHARED + SUBJECTS),
}  # fmt: skip
