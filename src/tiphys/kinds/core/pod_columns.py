"""What `kubectl get pods` shows: readiness, restarts, and the STATUS that sums up the containers.

Source: upstream's `printPod` in `pkg/printers/internalversion/printers.go`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Column, Json
from tiphys.kinds.columns import AGE, NAME, NONE, at, column, since
from tiphys.kinds.fields import dig


def _statuses(pod: Json, name: str) -> list[Json]:
    statuses: list[Json] = dig(pod, "status", name) or []
    return statuses


def _sidecars(pod: Json) -> set[str]:
    return {
        container.get("name", "")
        for container in dig(pod, "spec", "initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }


def ready(pod: Json) -> str:
    """Ready containers of all, sidecars among them: `1/2`."""
    sidecars = _sidecars(pod)
    total = len(dig(pod, "spec", "containers") or ()) + len(sidecars)
    count = sum(
        1
        for status in _statuses(pod, "containerStatuses")
        if status.get("ready") and dig(status, "state", "running") is not None
    )
    count += sum(
        1
        for status in _statuses(pod, "initContainerStatuses")
        if status.get("name") in sidecars and status.get("started") and status.get("ready")
    )
    return f"{count}/{total}"


def status(pod: Json) -> str:
    """One word of how it goes: `Running`, `Init:1/2`, `CrashLoopBackOff`, `Terminating`, ..."""
    reason = dig(pod, "status", "reason") or dig(pod, "status", "phase") or ""
    for condition in dig(pod, "status", "conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    initializing = _initializing(pod)
    reason = initializing if initializing and not _initialized(pod) else _running(pod, reason)
    if dig(pod, "metadata", "deletionTimestamp"):
        if dig(pod, "status", "reason") == "NodeLost":
            return "Unknown"
        if dig(pod, "status", "phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(reason)


def _initialized(pod: Json) -> bool:
    """Upstream's exception: with this condition true, a restarting init container does not hide the rest."""
    conditions = dig(pod, "status", "conditions") or ()
    return any(c.get("type") == "Initialized" and c.get("status") == "True" for c in conditions)


def _initializing(pod: Json) -> str:
    """The STATUS while init containers run, empty once they are through."""
    sidecars = _sidecars(pod)
    total = len(dig(pod, "spec", "initContainers") or ())
    for index, container in enumerate(_statuses(pod, "initContainerStatuses")):
        terminated = dig(container, "state", "terminated")
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if container.get("name") in sidecars and container.get("started"):
            continue
        if terminated is not None:
            return "Init:" + _ended(terminated)
        waiting = dig(container, "state", "waiting", "reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{total}"
    return ""


def _ended(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _running(pod: Json, reason: str) -> str:
    """The first container, in order, that waits or has ended says how the pod is."""
    some_run = False
    for container in reversed(_statuses(pod, "containerStatuses")):
        state = container.get("state") or {}
        if dig(state, "waiting", "reason"):
            reason = state["waiting"]["reason"]
        elif state.get("terminated") is not None:
            reason = _ended(state["terminated"])
        elif container.get("ready") and state.get("running") is not None:
            some_run = True
    if reason == "Completed" and some_run:
        conditions = dig(pod, "status", "conditions") or ()
        is_ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
        return "Running" if is_ready else "NotReady"
    return reason


def restarts(pod: Json, now: float) -> str:
    """How often containers were restarted, and when last: `3 (5m ago)`."""
    sidecars = _sidecars(pod)
    inits = _statuses(pod, "initContainerStatuses")
    counted = inits
    if not _initializing(pod) or _initialized(pod):
        counted = [container for container in inits if container.get("name") in sidecars]
        counted = counted + _statuses(pod, "containerStatuses")
    total = sum(container.get("restartCount") or 0 for container in counted)
    last = max((dig(c, "lastState", "terminated", "finishedAt") or "" for c in counted), default="")
    return f"{total} ({since(last, now)} ago)" if total and last else str(total)


def _gates(pod: Json) -> str:
    gates = dig(pod, "spec", "readinessGates") or ()
    if not gates:
        return NONE
    true = {c.get("type") for c in dig(pod, "status", "conditions") or () if c.get("status") == "True"}
    return f"{sum(1 for gate in gates if gate.get('conditionType') in true)}/{len(gates)}"


def _ip(pod: Json) -> Any:
    ips = dig(pod, "status", "podIPs") or ()
    return (ips[0].get("ip") if ips else dig(pod, "status", "podIP")) or NONE


COLUMNS = (
    NAME,
    column("Ready", ready),
    column("Status", status),
    Column("Restarts", restarts),
    AGE,
    column("IP", _ip, wide=True),
    at("Node", "spec", "nodeName", empty=NONE, wide=True),
    at("Nominated Node", "status", "nominatedNodeName", empty=NONE, wide=True),
    column("Readiness Gates", _gates, wide=True),
)
