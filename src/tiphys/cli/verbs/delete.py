"""`delete`: by file, name or label; waits until finalizers are done and pods have stopped.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_delete/
"""

from __future__ import annotations

import time
from typing import Any

from tiphys.cli import builder, deletion
from tiphys.cli.builder import Info
from tiphys.cli.command import DRY_RUN, FILES, SELECT, Call, Command
from tiphys.cli.errors import CliError, ServerError, raise_all

Json = dict[str, Any]
_OWN = """
grace-period int=-1  Seconds for pods to end; -1 leaves it to them.
force bool  Do not wait for the node to confirm.
now bool  Grace period of one second.
cascade opt:background=background  What happens to dependents: background, orphan or foreground.
wait bool=true  Wait until it is gone.
timeout time  How long to wait; 0 takes it from the grace period.
ignore-not-found bool  What is not there is no failure.
output,o str  Format: name.
raw str  Path to DELETE as it stands.
interactive,i bool  Ask before deleting.
"""
FLAGS = FILES + SELECT + DRY_RUN + _OWN
_FORCED = (
    "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The "
    "resource may continue to run on the cluster indefinitely."
)


def run(call: Call) -> int:
    opts = call.opts
    if opts["raw"]:
        call.out.write(call.transport.call("DELETE", opts["raw"]).decode())
        return 0
    grace = _grace(call)
    propagation = {"background": "Background", "orphan": "Orphan", "foreground": "Foreground", "true": "Background",
                   "false": "Orphan"}.get(opts["cascade"])  # fmt: skip
    if propagation is None:
        raise CliError(f"invalid cascade value ({opts['cascade']}). Must be \"background\", \"foreground\", or "
                       '"orphan"')  # fmt: skip
    found = _find(call)
    ignore = opts["ignore-not-found"] or opts["all"] or (not opts["filename"] and bool(opts["selector"]))
    errors: list[Exception] = []
    deleted: list[tuple[Info, str]] = []
    for info in found:
        try:
            if call.dry_run == "client":
                _say(call, info, grace)
                continue
            answer = deletion.delete(call, info, grace=grace, propagation=propagation)
            uid = (answer.get("details") or {}).get("uid") or (answer.get("metadata") or {}).get("uid") or ""
            deleted.append((info, uid))
            _say(call, info, grace)
        except ServerError as error:
            if not (ignore and error.code == 404):
                errors.append(error)
    if not found and not errors and not opts["ignore-not-found"]:
        call.say("No resources found")
    if opts["wait"] and call.dry_run == "none":
        _wait(call, deleted, errors)
    raise_all(errors)
    return 0


def _grace(call: Call) -> int:
    opts = call.opts
    grace: int = opts["grace-period"]
    if opts["now"]:
        if grace != -1:
            raise CliError("--now and --grace-period cannot be specified together")
        grace = 1
    if opts["force"]:
        if grace > 0:
            raise CliError("--force and --grace-period greater than 0 cannot be specified together")
        call.warn(_FORCED)
        return 0
    if grace == 0:
        # Zero without --force waits for the graceful end, of one second.
        grace = 1
    return grace


def _find(call: Call) -> list[Info]:
    """What to delete. Objects that are named are deleted unseen, so that their absence is the server's to tell."""
    opts = call.opts
    only_type = not opts["filename"] and len(call.args) == 1 and "/" not in call.args[0]
    if only_type and not (opts["all"] or opts["selector"] or opts["field-selector"]):
        raise CliError("resource(s) were provided, but no name was specified")
    found: list[Info] = []
    errors: list[Exception] = []
    for target in builder.targets(call):
        if target.name:
            found.append(Info(target.resource, target.namespace, target.name, {}, target.source))
        else:
            found += builder.infos(call, [target], errors)
    raise_all(errors)
    return found


def _say(call: Call, info: Info, grace: int) -> None:
    operation = "force deleted" if grace == 0 else "deleted"
    suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(call.dry_run, "")
    if call.opts["output"] == "name":
        call.say(info.title)
        return
    resource = info.resource
    kind = resource.kind.lower() + (f".{resource.group}" if resource.group else "")
    # Since v1.34 the namespace is told as well.
    where = f" from {info.namespace} namespace" if info.namespace else ""
    call.say(f'{kind} "{info.name}" {operation}{where}{suffix}')
    call.out.flush()


def _wait(call: Call, deleted: list[tuple[Info, str]], errors: list[Exception]) -> None:
    timeout = call.opts["timeout"] or 0
    deadline = time.monotonic() + timeout
    for info, uid in deleted:
        try:
            deletion.wait_gone(call, info, uid, max(deadline - time.monotonic(), 0.001) if timeout else 0)
        except ServerError as error:
            if error.reason not in ("MethodNotAllowed", "Forbidden"):
                errors.append(error)


COMMANDS = {
    "delete": Command(run, "([-f FILENAME] | TYPE [(NAME | -l label | --all)])", FLAGS, """
        kubectl delete -f pod.yaml
        kubectl delete pod web-0 --now
        kubectl delete pods,services -l app=web
        kubectl delete pods --all
    """),
}  # fmt: skip
