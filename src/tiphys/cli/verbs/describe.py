"""`describe`: an object and what belongs to it, for people to read; each kind's layout is in `describers`."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from tiphys.cli import builder
from tiphys.cli.builder import Info, Target
from tiphys.cli.command import FILES, SELECT, Call, Command
from tiphys.cli.discovery import Resource
from tiphys.cli.errors import ServerError, raise_all

FLAGS = (
    FILES
    + SELECT
    + """
show-events bool=true  Show the events of an object.
chunk-size int=500  Size of the portions that are asked for.
"""
)
# group/Kind -> module:function under tiphys.cli.describers
_LAYOUTS = {
    "/Pod": "pod:describe", "/Node": "node:describe", "/Service": "core:service", "/ConfigMap": "core:config_map",
    "/Secret": "core:secret", "/Namespace": "core:namespace", "/PersistentVolumeClaim": "core:claim",
    "/ServiceAccount": "core:service_account", "/ResourceQuota": "core:quota",
    "/ReplicationController": "workloads:replica_set", "scheduling.k8s.io/PriorityClass": "policy:priority_class",
    "apps/Deployment": "workloads:deployment",
    "apps/ReplicaSet": "workloads:replica_set", "apps/DaemonSet": "workloads:daemon_set",
    "apps/StatefulSet": "workloads:stateful_set", "batch/Job": "workloads:job", "batch/CronJob": "workloads:cron_job",
    "networking.k8s.io/Ingress": "core:ingress", "rbac.authorization.k8s.io/Role": "core:role",
    "rbac.authorization.k8s.io/ClusterRole": "core:role", "rbac.authorization.k8s.io/RoleBinding": "core:binding",
    "rbac.authorization.k8s.io/ClusterRoleBinding": "core:binding",
}  # fmt: skip


def run(call: Call) -> int:
    found = builder.targets(call)
    errors: list[Exception] = []
    infos = list(builder.infos(call, found, errors))
    if (errors or len(infos) > 1) and "show-events" not in call.opts.given:
        call.opts["show-events"] = False
    if errors and len(call.args) == 2 and isinstance(errors[0], ServerError) and errors[0].code == 404:
        return _matching(call, found[0], errors[0])
    for at, info in enumerate(infos):
        call.out.write(("\n\n" if at else "") + layout(info.resource)(call, info))
    if not infos and not errors:
        everywhere = call.opts["all-namespaces"]
        call.warn("No resources found" if everywhere else f"No resources found in {call.namespace} namespace.")
    raise_all(errors)
    return 0


def _matching(call: Call, target: Target, error: ServerError) -> int:
    """All objects whose names start with the word, since none has it as its whole name."""
    matching = [info for info in builder.infos(call, [target._replace(name="")]) if info.name.startswith(target.name)]
    if not matching:
        raise error
    call.opts["show-events"] = call.opts["show-events"] or "show-events" not in call.opts.given
    for info in matching:
        call.out.write(layout(info.resource)(call, info) + "\n")
    return 0


def layout(resource: Resource) -> Callable[[Call, Info], str]:
    """The describer of a kind."""
    module, _, function = _LAYOUTS.get(f"{resource.group}/{resource.kind}", "generic:describe").partition(":")
    found: Callable[[Call, Info], str] = getattr(importlib.import_module(f"tiphys.cli.describers.{module}"), function)
    return found


COMMANDS = {
    "describe": Command(run, "(-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME)", FLAGS, """
        kubectl describe node node-1
        kubectl describe pods/web-0
        kubectl describe deployments -l app=web
    """),
}  # fmt: skip
