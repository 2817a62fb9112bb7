"""`apply --prune`: delete what was applied before, in the same place, and is not in the files any more.

Source: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/
"""

from __future__ import annotations

from typing import Any

from tiphys.cli import builder, deletion
from tiphys.cli.builder import Target
from tiphys.cli.command import Call
from tiphys.cli.discovery import Resource
from tiphys.cli.errors import CliError
from tiphys.cli.writes import LAST_APPLIED

Json = dict[str, Any]
_DEFAULTS = (
    "configmaps", "endpoints", "namespaces", "persistentvolumeclaims", "persistentvolumes", "pods",
    "replicationcontrollers", "secrets", "services", "jobs.batch", "cronjobs.batch", "ingresses.networking.k8s.io",
    "daemonsets.apps", "deployments.apps", "replicasets.apps", "statefulsets.apps",
)  # fmt: skip


def types(call: Call) -> list[Resource]:
    """What is pruned, asked before anything is applied.

    Raises CliError when neither `--all` nor a selector says how far it may go, and for types that are not there.
    """
    if not call.opts["all"] and not call.opts["selector"]:
        raise CliError(
            "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all "
            "flag. If you did not mean to prune all resources, specify a label selector"
        )
    return _types(call)


def prune(call: Call, resources: list[Resource], applied: list[tuple[Target, Json]]) -> None:
    kept = {obj["metadata"].get("uid") for _, obj in applied}
    namespaces = sorted({target.namespace for target, _ in applied if target.namespace} or {call.namespace})
    for resource in resources:
        for namespace in namespaces if resource.namespaced else [""]:
            _prune_one(call, Target(resource, namespace, ""), kept)


def _types(call: Call) -> list[Resource]:
    listed = call.opts["prune-allowlist"]
    if not listed:
        return [call.discovery.find(name) for name in _DEFAULTS]
    found = []
    for words in listed:
        group, _, rest = words.partition("/")
        version, _, kind = rest.partition("/")
        if not kind:
            raise CliError(f"invalid GroupVersionKind format: {words}, please follow <group/version/kind>")
        group = "" if group == "core" else group
        found.append(call.discovery.of_kind(f"{group}/{version}" if group else version, kind))
    return found


def _prune_one(call: Call, target: Target, kept: set[str | None]) -> None:
    for info in builder.infos(call, [target]):
        metadata = info.obj["metadata"]
        if LAST_APPLIED not in (metadata.get("annotations") or {}) or metadata.get("uid") in kept:
            continue
        if call.dry_run != "client":
            deletion.delete(call, info, grace=call.opts["grace-period"])
        suffix = {"client": " (dry run)", "server": " (server dry run)"}.get(call.dry_run, "")
        call.say(f"{info.title} pruned{suffix}")
