"""`apply`: client-side, by a three-way patch, or `--server-side`.

Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli import builder, writes
from tiphys.cli.builder import Target
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, VALIDATE, Call, Command
from tiphys.cli.errors import CliError, ServerError, raise_all
from tiphys.cli.verbs.create import wanted
from tiphys.cli.writes import LAST_APPLIED

Json = dict[str, Any]
FLAGS = (
    FILES
    + DRY_RUN
    + OUTPUT
    + MANAGER
    + VALIDATE
    + """
server-side bool  Let the server merge, by field ownership.
force-conflicts bool  With --server-side: take fields from their other owners.
overwrite bool=true  Settle what differs in favour of the file.
force bool  Delete and create again what cannot be patched.
prune bool  Delete what was applied before and is not in the files now; needs -l or --all.
prune-allowlist array  With --prune: only these types, as group/version/kind.
selector,l str  Apply only what these labels match.
all bool  With --prune: everything in the namespace.
wait bool  Wait for what is deleted.
grace-period int=-1  With --force: grace period of what is deleted.
timeout time  With --force: how long to wait.
cascade opt:background=background  With --force: background, orphan or foreground.
openapi-patch bool=true  Kept for scripts; patches always follow the schema.
"""
)
_MISSING_ANNOTATION = (
    "Warning: resource {title} is missing the kubectl.kubernetes.io/last-applied-configuration annotation which is "
    "required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl "
    "create --save-config or kubectl apply. The missing annotation will be patched automatically."
)


def run(call: Call) -> int:
    opts = call.opts
    if call.args:
        raise CliError(f"Unexpected args: [{' '.join(call.args)}]\nSee 'kubectl apply -h' for help and examples")
    if not opts["filename"] and not opts["kustomize"]:
        raise CliError("must specify one of -f and -k")
    from tiphys.cli.verbs import apply_prune

    if opts["force-conflicts"] and not opts["server-side"]:
        raise CliError("--force-conflicts only works with --server-side")
    if opts["server-side"] and call.dry_run == "client":
        raise CliError("--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)")
    pruned = apply_prune.types(call) if opts["prune"] else []
    errors: list[Exception] = []
    applied: list[tuple[Target, Json]] = []
    for target in builder.targets(call):
        if not wanted(call, target.obj or {}):
            continue
        if not target.name:
            raise CliError(f'error when applying "{target.source}": name must be provided: cannot use generate name '
                           "with apply")  # fmt: skip
        try:
            obj, operation = server_side(call, target) if opts["server-side"] else client_side(call, target)
        except ServerError as error:
            errors.append(error)
            continue
        applied.append((target, obj))
        writes.show(call, obj, operation)
    raise_all(errors)
    if opts["prune"]:
        apply_prune.prune(call, pruned, applied)
    return 0


def server_side(call: Call, target: Target) -> tuple[Json, str]:
    force = True if call.opts["force-conflicts"] else None
    try:
        obj = writes.patch(call, target, target.obj, kind=writes.APPLY, manager="kubectl", force=force)
    except ServerError as error:
        if error.reason == "Conflict":
            raise CliError(_conflict(error)) from None
        raise error.when("patching", target.source) from None
    return obj, "serverside-applied"


def _conflict(error: ServerError) -> str:
    return (
        f"Apply failed with {error.message.removeprefix('Apply failed with ')}\nPlease review the fields above--they "
        "currently have other managers. Here\nare the ways you can resolve this warning:\n* If you intend to manage "
        "all of these fields, please re-run the apply\n  command with the `--force-conflicts` flag.\n* If you do not "
        "intend to manage all of the fields, please edit your\n  manifest to remove references to the fields that "
        "should keep their\n  current managers.\n* You may co-own fields by updating your manifest to match the "
        "existing\n  value; in this case, you'll become the manager if the other manager(s)\n  stop managing the field "
        "(remove it from their configuration).\nSee https://kubernetes.io/docs/reference/using-api/server-side-apply/"
        "#conflicts"
    )


def client_side(call: Call, target: Target) -> tuple[Json, str]:
    """Create or patch one object; returns it and what happened."""
    new = target.obj or {}
    annotated = annotate(new)
    try:
        live = builder.get(call, target)
    except ServerError as error:
        if error.code != 404:
            raise error.when("retrieving current configuration of:\n", target.source) from None
        if call.dry_run == "client":
            return annotated, "created"
        created = target._replace(obj=annotated)
        return writes.create(call, created, manager="kubectl-client-side-apply", verb="creating"), "created"
    recorded = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if recorded is None and call.dry_run != "client":
        call.warn(_MISSING_ANNOTATION.format(title=f"{target.resource.plural}/{target.name}"))
    last = orjson.loads(recorded) if recorded else {}
    patch, kind = compute(target, last, annotated, live)
    if call.dry_run == "client":
        return _merged(target, live, patch), "configured"
    if not patch:
        return live, "unchanged"
    try:
        obj = writes.patch(call, target, patch, kind=kind, manager="kubectl-client-side-apply")
    except ServerError as error:
        if call.opts["force"] and error.reason in ("Invalid", "Conflict"):
            return _recreate(call, target._replace(obj=annotated)), "configured"
        if error.reason != "Invalid":
            raise error.when("applying patch", target.source) from None
        raise
    changed = obj["metadata"].get("resourceVersion") != live["metadata"].get("resourceVersion")
    return obj, "configured" if changed else "unchanged"


def annotate(obj: Json) -> Json:
    """The object with itself in the annotation of the last applied configuration."""
    annotations = {**((obj.get("metadata") or {}).get("annotations") or {})}
    annotations[LAST_APPLIED] = writes.last_applied(obj)
    return {**obj, "metadata": {**(obj.get("metadata") or {}), "annotations": annotations}}


def compute(target: Target, last: Json, new: Json, live: Json) -> tuple[Json, str]:
    """The patch and its content type."""
    from tiphys.api import facts
    from tiphys.cli import patches

    name = facts.gvk(target.resource.group, target.resource.version, target.resource.kind)
    if name is None:
        return patches.merge_patch(last, new, live), writes.MERGE
    return patches.strategic(facts.schema(name), last, new, live), writes.STRATEGIC


def _merged(target: Target, live: Json, patch: Json) -> Json:
    from tiphys.api import facts
    from tiphys.api.patch import merge_patch
    from tiphys.api.strategic import strategic_patch

    name = facts.gvk(target.resource.group, target.resource.version, target.resource.kind)
    merged: Json = merge_patch(live, patch) if name is None else strategic_patch(facts.schema(name), live, patch)
    return merged


def _recreate(call: Call, target: Target) -> Json:
    from tiphys.cli.deletion import delete_and_wait

    delete_and_wait(call, target, grace=call.opts["grace-period"])
    return writes.create(call, target, manager="kubectl-client-side-apply")


COMMANDS = {
    "apply": Command(run, "(-f FILENAME | -k DIRECTORY)", FLAGS, """
        kubectl apply -f deployment.yaml
        kubectl apply -f manifests/ -R --server-side
        cat pod.json | kubectl apply -f -
    """),
}  # fmt: skip
