"""`cordon`, `uncordon` and `drain`: nodes taken out of service, their pods evicted within their budgets.

Source: https://kubernetes.io/docs/tasks/administer-cluster/safely-drain-node/
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from tiphys.cli import builder, deletion, writes
from tiphys.cli.builder import Info
from tiphys.cli.command import DRY_RUN, Call, Command
from tiphys.cli.errors import CliError, ServerError

Json = dict[str, Any]
CORDON_FLAGS = DRY_RUN + "selector,l str  Label query.\n"
DRAIN_FLAGS = (
    CORDON_FLAGS
    + """
pod-selector str  Only pods with these labels.
ignore-daemonsets bool  Leave pods of DaemonSets.
delete-emptydir-data bool  Pods whose emptyDir volumes are lost may go.
force bool  Pods that nobody makes again may go.
grace-period int=-1  Seconds that pods have to end; -1 leaves it to them.
timeout time  How long to wait; 0 is for ever.
disable-eviction bool  Delete, without asking budgets.
skip-wait-for-delete-timeout int  Do not wait for pods that are being deleted for longer.
chunk-size int=500  Accepted, not used.
"""
)
_MIRROR = "kubernetes.io/config.mirror"
_PAUSE = 1.0


def cordon(call: Call) -> int:
    return _mark(call, True)


def uncordon(call: Call) -> int:
    return _mark(call, False)


def _nodes(call: Call) -> list[Info]:
    if not call.args and not call.opts["selector"]:
        raise CliError("USAGE: a node name or a selector is required")
    words = [word if "/" in word else f"node/{word}" for word in call.args] or ["nodes"]
    return list(builder.infos(call, builder.targets(call, words)))


def _mark(call: Call, unschedulable: bool) -> int:
    for info in _nodes(call):
        _cordon(call, info, unschedulable)
    return 0


def _cordon(call: Call, info: Info, unschedulable: bool) -> None:
    said = "cordoned" if unschedulable else "uncordoned"
    if bool((info.obj.get("spec") or {}).get("unschedulable")) is unschedulable:
        writes.show(call, info.obj, f"already {said}")
        return
    if call.dry_run != "client":
        body = {"spec": {"unschedulable": unschedulable or None}}
        writes.patch(call, info, body, kind=writes.STRATEGIC, manager=f"kubectl-{said[:-2]}")
    writes.show(call, info.obj, said)


def drain(call: Call) -> int:
    deadline = time.monotonic() + call.opts["timeout"] if call.opts["timeout"] else None
    for info in _nodes(call):
        _cordon(call, info, True)
        for pod in _pods(call, info):
            if call.dry_run == "client":
                call.say(f"evicting pod {pod.namespace}/{pod.name} (dry run)")
        pods = [] if call.dry_run == "client" else _pods(call, info)
        for pod in pods:
            call.warn(f"evicting pod {pod.namespace}/{pod.name}")
            _evict(call, pod, deadline)
        for pod in pods:
            left = 0 if deadline is None else max(deadline - time.monotonic(), 0.001)
            deletion.wait_gone(call, pod, pod.obj["metadata"]["uid"], left)
            call.say(f"pod/{pod.name} evicted")
        writes.show(call, info.obj, "drained")
    return 0


def _pods(call: Call, node: Info) -> list[Info]:
    """The pods to evict. Raises CliError with all that stands in the way."""
    query = {"fieldSelector": f"spec.nodeName={node.name}", "labelSelector": call.opts["pod-selector"]}
    items = orjson.loads(call.transport.call("GET", "/api/v1/pods", query=query))["items"]
    resource = call.discovery.of_kind("v1", "Pod")
    chosen: list[Info] = []
    problems: dict[str, list[str]] = {}
    for obj in items:
        meta = obj["metadata"]
        reason, skip = _judge(call, obj)
        if reason:
            problems.setdefault(reason, []).append(f"{meta['namespace']}/{meta['name']}")
        elif not skip:
            chosen.append(Info(resource, meta["namespace"], meta["name"], obj))
    if problems:
        text = ", ".join(f"{reason}: {', '.join(names)}" for reason, names in problems.items())
        raise CliError(f"unable to drain node {node.name!r}: cannot delete {text}")
    return chosen


def _judge(call: Call, pod: Json) -> tuple[str, bool]:
    """(what stands in the way, whether the pod stays)."""
    meta, opts = pod["metadata"], call.opts
    finished = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    owner = next((o for o in meta.get("ownerReferences") or () if o.get("controller")), None)
    if _MIRROR in (meta.get("annotations") or {}):
        return "", True
    if owner is not None and owner["kind"] == "DaemonSet" and not finished:
        if opts["ignore-daemonsets"]:
            return "", True
        return "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)", False
    local = any("emptyDir" in volume for volume in pod["spec"].get("volumes") or ())
    if local and not finished and not opts["delete-emptydir-data"]:
        return "Pods with local storage (use --delete-emptydir-data to override)", False
    if owner is None and not finished and not opts["force"]:
        return "Pods that declare no controller (use --force to override)", False
    return "", False


def _evict(call: Call, pod: Info, deadline: float | None) -> None:
    options: Json = {}
    if call.opts["grace-period"] >= 0:
        options["gracePeriodSeconds"] = call.opts["grace-period"]
    if call.opts["disable-eviction"]:
        deletion.delete(call, pod, grace=call.opts["grace-period"])
        return
    meta = {"name": pod.name, "namespace": pod.namespace}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta, "deleteOptions": options}
    path = pod.resource.path(pod.namespace, pod.name, "eviction")
    while True:
        try:
            call.transport.call("POST", path, body=body)
            return
        except ServerError as error:
            if error.code == 404:
                return
            if error.code != 429:
                raise
            where = f'pods/"{pod.name}" -n "{pod.namespace}"'
            call.warn(f"error when evicting {where} (will retry after 5s): {error.message}")
        # Nothing tells when a budget allows the next disruption.
        time.sleep(_PAUSE * 5)
        if deadline is not None and time.monotonic() > deadline:
            raise CliError("drain did not complete within the timeout")


COMMANDS = {
    "cordon": Command(cordon, "NODE", CORDON_FLAGS),
    "uncordon": Command(uncordon, "NODE", CORDON_FLAGS),
    "drain": Command(drain, "NODE", DRAIN_FLAGS, "kubectl drain node-1 --ignore-daemonsets"),
}
