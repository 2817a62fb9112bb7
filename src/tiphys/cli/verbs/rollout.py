"""`rollout status|restart|pause|resume` of Deployments, DaemonSets and StatefulSets.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_rollout/
"""

from __future__ import annotations

import time
from typing import Any

import orjson

from tiphys.api.time import rfc3339
from tiphys.cli import builder, writes
from tiphys.cli.builder import Info
from tiphys.cli.command import DRY_RUN, FILES, MANAGER, OUTPUT, Call, Command
from tiphys.cli.errors import CliError

Json = dict[str, Any]
_WORKLOADS = ("deployments", "daemonsets", "statefulsets")
_RESTARTED = "kubectl.kubernetes.io/restartedAt"
STATUS_FLAGS = (
    FILES
    + """
selector,l str  Label query.
watch,w bool=true  Wait until the rollout is done.
timeout time  How long to wait; 0 is for ever.
revision int  Only this revision counts.
"""
)
CHANGE_FLAGS = (
    FILES
    + OUTPUT
    + MANAGER
    + DRY_RUN
    + """
selector,l str  Label query.
"""
)


def group(call: Call) -> int:
    from tiphys.cli.help import describe

    call.say(describe("rollout", COMMANDS["rollout"]))
    return 0


def workloads(call: Call, *kinds: str) -> list[Info]:
    """The live objects that the words name. Raises CliError for a kind that has no rollouts."""
    found = list(builder.infos(call, builder.targets(call)))
    if not found:
        raise CliError("no objects passed to rollout")
    for info in found:
        if info.resource.plural not in (kinds or _WORKLOADS):
            raise CliError(f'no status viewer has been implemented for "{info.resource.kind}"')
    return found


def status(call: Call) -> int:
    deadline = time.monotonic() + call.opts["timeout"] if call.opts["timeout"] else None
    for info in workloads(call):
        _follow(call, info, deadline)
    return 0


def _follow(call: Call, info: Info, deadline: float | None) -> None:
    """Print each new line of progress until the rollout is done."""
    obj = info.obj
    text, done = progress(info.resource.plural, obj, call.opts["revision"])
    call.say(text)
    call.out.flush()
    while not done and call.opts["watch"]:
        query: Json = {
            "fieldSelector": f"metadata.name={info.name}", "watch": True,
            "resourceVersion": obj["metadata"]["resourceVersion"],
        }  # fmt: skip
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise CliError("timed out waiting for the condition")
            query["timeoutSeconds"] = max(1, int(left))
        for line in call.transport.lines(info.resource.path(info.namespace), query=query):
            event = orjson.loads(line)
            if event["type"] == "DELETED":
                raise CliError("object has been deleted")
            if event["type"] not in ("ADDED", "MODIFIED"):
                continue
            obj = event["object"]
            now, done = progress(info.resource.plural, obj, call.opts["revision"])
            if now != text or done:
                call.say(now)
                call.out.flush()
                text = now
            if done:
                return
        if deadline is not None and time.monotonic() >= deadline:
            raise CliError("timed out waiting for the condition")


def progress(plural: str, obj: Json, revision: int = 0) -> tuple[str, bool]:
    """What a rollout waits for, and whether it is done. Raises CliError for one that failed."""
    if plural == "deployments":
        return _deployment(obj, revision)
    return _daemon_set(obj) if plural == "daemonsets" else _stateful_set(obj)


def _deployment(obj: Json, revision: int) -> tuple[str, bool]:
    name, spec, status_ = obj["metadata"]["name"], obj["spec"], obj.get("status") or {}
    current = int((obj["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", 0))
    if revision and current != revision:
        raise CliError(f"desired revision ({revision}) is different from the running revision ({current})")
    if obj["metadata"].get("generation", 0) > status_.get("observedGeneration", 0):
        return "Waiting for deployment spec update to be observed...", False
    for condition in status_.get("conditions") or ():
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            raise CliError(f'deployment "{name}" exceeded its progress deadline')
    wanted, updated = spec.get("replicas", 1), status_.get("updatedReplicas", 0)
    head = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        return f"{head}{updated} out of {wanted} new replicas have been updated...", False
    if status_.get("replicas", 0) > updated:
        return f"{head}{status_.get('replicas', 0) - updated} old replicas are pending termination...", False
    if status_.get("availableReplicas", 0) < updated:
        return f"{head}{status_.get('availableReplicas', 0)} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


def _daemon_set(obj: Json) -> tuple[str, bool]:
    name, status_ = obj["metadata"]["name"], obj.get("status") or {}
    if (obj["spec"].get("updateStrategy") or {}).get("type") != "RollingUpdate":
        raise CliError("rollout status is only available for RollingUpdate strategy type")
    if obj["metadata"].get("generation", 0) > status_.get("observedGeneration", 0):
        return "Waiting for daemon set spec update to be observed...", False
    wanted, updated = status_.get("desiredNumberScheduled", 0), status_.get("updatedNumberScheduled", 0)
    head = f'Waiting for daemon set "{name}" rollout to finish: '
    if updated < wanted:
        return f"{head}{updated} out of {wanted} new pods have been updated...", False
    if status_.get("numberAvailable", 0) < wanted:
        return f"{head}{status_.get('numberAvailable', 0)} of {wanted} updated pods are available...", False
    return f'daemon set "{name}" successfully rolled out', True


def _stateful_set(obj: Json) -> tuple[str, bool]:
    spec, status_ = obj["spec"], obj.get("status") or {}
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") != "RollingUpdate":
        raise CliError("rollout status is only available for RollingUpdate strategy type")
    if obj["metadata"].get("generation", 0) > status_.get("observedGeneration", 0):
        return "Waiting for statefulset spec update to be observed...", False
    wanted, ready = spec.get("replicas", 1), status_.get("readyReplicas", 0)
    if ready < wanted:
        return f"Waiting for {wanted - ready} pods to be ready...", False
    partition = (strategy.get("rollingUpdate") or {}).get("partition", 0)
    updated = status_.get("updatedReplicas", 0)
    if partition and updated < wanted - partition:
        head = "Waiting for partitioned roll out to finish: "
        return f"{head}{updated} out of {wanted - partition} new pods have been updated...", False
    if status_.get("updateRevision") != status_.get("currentRevision") and not partition:
        head = f"waiting for statefulset rolling update to complete {updated} pods at revision "
        return f"{head}{status_.get('updateRevision')}...", False
    current = status_.get("currentReplicas", updated)
    return f"statefulset rolling update complete {current} pods at revision {status_.get('currentRevision')}...", True


def restart(call: Call) -> int:
    stamp = {"metadata": {"annotations": {_RESTARTED: rfc3339(time.time())}}}
    for info in workloads(call):
        if info.obj["spec"].get("paused"):
            raise CliError(f"can't restart paused {info.resource.singular} (run rollout resume first)")
        _change(call, info, {"spec": {"template": stamp}}, "restarted")
    return 0


def pause(call: Call) -> int:
    return _set_paused(call, True)


def resume(call: Call) -> int:
    return _set_paused(call, False)


def _set_paused(call: Call, paused: bool) -> int:
    for info in workloads(call, "deployments"):
        if bool(info.obj["spec"].get("paused")) is paused:
            state = "already" if paused else "not"
            raise CliError(f'{info.resource.full_name} "{info.name}" is {state} paused')
        _change(call, info, {"spec": {"paused": paused or None}}, "paused" if paused else "resumed")
    return 0


def _change(call: Call, info: Info, patch: Json, operation: str) -> None:
    obj = info.obj
    if call.dry_run != "client":
        obj = writes.patch(call, info, patch, kind=writes.STRATEGIC, manager="kubectl-rollout")
    writes.show(call, obj, operation)


COMMANDS = {
    "rollout": Command(group, "SUBCOMMAND"),
    "rollout status": Command(status, "(TYPE NAME | TYPE/NAME)", STATUS_FLAGS, "kubectl rollout status deploy/web"),
    "rollout restart": Command(restart, "RESOURCE", CHANGE_FLAGS, "kubectl rollout restart deploy/web"),
    "rollout pause": Command(pause, "RESOURCE", CHANGE_FLAGS, "kubectl rollout pause deploy/web"),
    "rollout resume": Command(resume, "RESOURCE", CHANGE_FLAGS, "kubectl rollout resume deploy/web"),
}
