"""`diff`: what applying the files would change, through `diff -u -N` or $KUBECTL_EXTERNAL_DIFF.

Exit code 0: no difference, 1: differences, above: failure.
Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_diff/
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from typing import Any

import orjson

from tiphys.cli import builder, writes, yamls
from tiphys.cli.builder import Target
from tiphys.cli.command import FILES, MANAGER, Call, Command
from tiphys.cli.errors import CliError, Exit, ServerError, explain
from tiphys.cli.printers import without_managed
from tiphys.cli.verbs.apply import annotate, compute

Json = dict[str, Any]
FLAGS = (
    FILES
    + MANAGER
    + """
server-side bool  Let the server merge, by field ownership.
force-conflicts bool  With --server-side: take fields from their other owners.
selector,l str  Only what these labels match.
show-managed-fields bool  Keep metadata.managedFields.
concurrency int=1  Accepted, not used.
prune bool  Accepted, not used.
"""
)


def run(call: Call) -> int:
    """0 where nothing differs, 1 where something does, more for a failure."""
    try:
        return _run(call)
    except (CliError, ServerError) as error:
        call.warn(explain(error))
        return 2


def _run(call: Call) -> int:
    if not call.opts["filename"]:
        raise CliError("must specify one of -f and -k")
    with tempfile.TemporaryDirectory(prefix="LIVE-") as live, tempfile.TemporaryDirectory(prefix="MERGED-") as merged:
        for target in builder.targets(call):
            old, new = _both(call, target)
            resource = target.resource
            name = ".".join([*resource.api_version.split("/"), resource.kind, target.namespace, target.name])
            for directory, obj in ((live, old), (merged, new)):
                if obj is not None:
                    with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                        file.write(yamls.dump(obj if call.opts["show-managed-fields"] else without_managed(obj)))
        command = shlex.split(os.environ.get("KUBECTL_EXTERNAL_DIFF", "")) or ["diff", "-u", "-N"]
        sys.stdout.flush()
        # A program of the user's choice, without a shell.
        done = subprocess.run([*command, live, merged], check=False)  # noqa: S603
    if done.returncode:
        raise Exit(done.returncode)
    return 0


def _both(call: Call, target: Target) -> tuple[Json | None, Json]:
    """The live object, if any, and what it would be: the server answers as if it had been applied."""
    try:
        live = builder.get(call, target)
    except ServerError as error:
        if error.code != 404:
            raise
        live = {}
    query = {"dryRun": "All", "fieldManager": call.opts["field-manager"] or "kubectl-client-side-apply"}
    if call.opts["server-side"]:
        query |= {"fieldManager": call.opts["field-manager"] or "kubectl"}
        query |= {"force": "true"} if call.opts["force-conflicts"] else {}
        body, kind = target.obj, writes.APPLY
    elif not live:
        path = target.resource.path(target.namespace)
        made: Json = orjson.loads(call.transport.call("POST", path, query=query, body=annotate(target.obj or {})))
        return None, made
    else:
        recorded = (live["metadata"].get("annotations") or {}).get(writes.LAST_APPLIED)
        body, kind = compute(target, orjson.loads(recorded) if recorded else {}, annotate(target.obj or {}), live)
    found = orjson.loads(call.transport.call("PATCH", target.path, query=query, body=body, content_type=kind))
    # The annotation repeats what the difference itself shows.
    for obj in (live, found):
        (obj.get("metadata", {}).get("annotations") or {}).pop(writes.LAST_APPLIED, None)
    return live or None, found


COMMANDS = {"diff": Command(run, "-f FILENAME", FLAGS, "kubectl diff -f deployment.yaml")}
