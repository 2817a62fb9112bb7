"""`create -f`: objects of files. The kinds that have words of their own are in `create_*`."""

from __future__ import annotations

import sys

from tiphys.cli import builder, writes
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, VALIDATE, Call, Command
from tiphys.cli.errors import CliError, ServerError, raise_all

FLAGS = (
    FILES
    + DRY_RUN
    + OUTPUT
    + MANAGER
    + VALIDATE
    + """
edit bool  Edit the object before it is created.
raw str  Path to POST the file to as it stands.
save-config bool  Keep the configuration in the annotation that apply reads.
selector,l str  Create only what these labels match.
windows-line-endings bool  For --edit: CRLF.
"""
)
# What every generator has.
MAKE = (
    DRY_RUN
    + OUTPUT
    + MANAGER
    + VALIDATE
    + """
save-config bool  Keep the configuration in the annotation that apply reads.
"""
)


def run(call: Call) -> int:
    if call.args:
        raise CliError(f"Unexpected args: [{' '.join(call.args)}]\nSee 'kubectl create -h' for help and examples")
    if not call.opts["filename"] and not call.opts["kustomize"]:
        raise CliError("must specify one of -f and -k", plain=False)
    if call.opts["raw"]:
        with open(call.opts["filename"][0], "rb") if call.opts["filename"][0] != "-" else sys.stdin.buffer as file:
            call.out.write(call.transport.call("POST", call.opts["raw"], body=file.read()).decode())
        return 0
    errors: list[Exception] = []
    for target in builder.targets(call):
        obj = target.obj or {}
        if not wanted(call, obj):
            continue
        if call.opts["save-config"]:
            obj["metadata"].setdefault("annotations", {})[writes.LAST_APPLIED] = writes.last_applied(obj)
        try:
            if call.dry_run != "client":
                obj = writes.create(call, target)
            writes.show(call, obj, "created")
        except ServerError as error:
            errors.append(error)
    raise_all(errors)
    return 0


def wanted(call: Call, obj: builder.Json) -> bool:
    """Whether the labels of a file's object match `-l`."""
    if not call.opts.get("selector"):
        return True
    from tiphys.api.selectors import parse_labels

    return parse_labels(call.opts["selector"]).matches((obj.get("metadata") or {}).get("labels") or {})


def only_name(call: Call, *, usage: str = "NAME is required") -> str:
    """The one word that names what is made. Raises CliError."""
    before = call.args if call.dash < 0 else call.args[: call.dash]
    if len(before) != 1:
        raise CliError(f"exactly one NAME is required, got {len(before)}\n"
                       "See 'kubectl create -h' for help and examples")  # fmt: skip
    return before[0]


COMMANDS = {
    "create": Command(run, "-f FILENAME", FLAGS, """
        kubectl create -f pod.yaml
        cat pod.json | kubectl create -f -
        kubectl create deployment web --image=nginx --replicas=3
    """),
}  # fmt: skip
