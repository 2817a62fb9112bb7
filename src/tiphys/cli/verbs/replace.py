"""`replace`: objects put in the place of those that are there; `--force` deletes and makes them again."""

from __future__ import annotations

from typing import Any

from tiphys.cli import builder, deletion, writes
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, VALIDATE, Call, Command
from tiphys.cli.errors import CliError, ServerError, raise_all

Json = dict[str, Any]
FLAGS = (
    FILES
    + DRY_RUN
    + OUTPUT
    + MANAGER
    + VALIDATE
    + """
force bool  Delete, then create.
grace-period int=-1  With --force: grace period.
cascade opt:background=background  With --force: background, orphan or foreground.
timeout time  With --force: how long to wait.
wait bool  Wait until it is gone.
save-config bool  Keep the configuration in the annotation that apply reads.
subresource str  status or scale.
raw str  Path to PUT the file to as it stands.
"""
)


def run(call: Call) -> int:
    if not call.opts["filename"]:
        raise CliError("must specify one of -f and -k")
    errors: list[Exception] = []
    for target in builder.targets(call):
        obj = target.obj or {}
        if call.opts["save-config"]:
            obj["metadata"].setdefault("annotations", {})[writes.LAST_APPLIED] = writes.last_applied(obj)
        try:
            if call.dry_run == "client":
                writes.show(call, obj, "replaced")
            elif call.opts["force"]:
                deletion.delete_and_wait(call, target, grace=call.opts["grace-period"])
                writes.show(call, writes.create(call, target, manager="kubectl-replace"), "replaced")
            else:
                writes.show(call, writes.replace(call, target, obj), "replaced")
        except ServerError as error:
            errors.append(error.when("replacing", target.source))
    raise_all(errors)
    return 0


COMMANDS = {"replace": Command(run, "-f FILENAME", FLAGS, "kubectl replace -f pod.yaml --force")}
