"""The status of a pod, from what was observed. Pure: values in, the JSON of `status` out.

https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import ContainerStatus, Pod
from tiphys.kubelet import runtime
from tiphys.kubelet.resources import qos_class
from tiphys.kubelet.restart import should_restart
from tiphys.kubelet.runtime import State
from tiphys.kubelet.steps import Observed, Phase


@dataclass(frozen=True, slots=True)
class Inputs:
    """`waiting`: why a container is not running, (reason, message) by name; `messages`: termination messages by id."""

    now: float
    host_ips: tuple[str, ...] = ()
    runtime_name: str = "containerd"
    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)


def build(pod: Pod, observed: Observed, inputs: Inputs) -> Json:
    """The whole status that this node answers for; `None` values are fields to remove."""
    work = _Work(pod, observed, inputs)
    init = [work.container(c, "init") for c in pod.spec.init_containers]
    main = [work.container(c, "main") for c in pod.spec.containers]
    ephemeral = [work.container(c, "ephemeral") for c in pod.spec.ephemeral_containers]
    phase = _phase(pod, observed, init, main)
    # While something of it still runs, the pod has not failed yet: its owner would start another beside it.
    going = any("running" in item["state"] for item in (*init, *main))
    end = None if observed.phase is Phase.SYNCING or going else observed.end
    if end is not None:
        phase = "Failed"
    ips = list(observed.found.sandbox.ips if observed.found.sandbox else ())
    if pod.spec.host_network:
        ips = list(inputs.host_ips)
    status: Json = {
        "phase": phase, "reason": end.reason if end else pod.status.reason or None,
        "message": end.message if end else pod.status.message or None,
        "observedGeneration": pod.metadata.generation or None, "qosClass": pod.status.qos_class or qos_class(pod),
        "startTime": rfc3339(observed.started_at) if observed.started_at else None,
        "hostIP": inputs.host_ips[0] if inputs.host_ips else None, "hostIPs": [{"ip": ip} for ip in inputs.host_ips],
        "containerStatuses": main,
    }  # fmt: skip
    if init:
        status["initContainerStatuses"] = init
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    # A finished pod keeps the address it had: whoever reads its status later still learns it.
    if ips:
        status |= {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}
    status["conditions"] = _conditions(pod, observed, inputs, status)
    return status


@dataclass(frozen=True, slots=True)
class _Work:
    pod: Pod
    observed: Observed
    inputs: Inputs

    def container(self, spec: Container, kind: str) -> Json:
        found = self.observed.found
        every = found.all(spec.name)
        latest = every[0] if every else None
        old = _old(self.pod, spec.name)
        status: Json = {"name": spec.name, "image": spec.image, "imageID": "", "restartCount": old.restart_count,
                        "lastState": {}, "ready": False, "started": False}  # fmt: skip
        if latest is None:
            return status | {"state": self._absent(spec, kind, old)}
        status |= {
            "image": latest.image or spec.image, "imageID": latest.image_id, "restartCount": latest.attempt,
            "containerID": self._id(latest), "state": self._state(latest, spec),
        }  # fmt: skip
        if len(every) > 1 and every[1].exited:
            status["lastState"] = {"terminated": self._terminated(every[1])}
        if latest.exited and self._will_restart(spec, latest, kind) and spec.name in self.inputs.waiting:
            status["lastState"] = status["state"]
            status["state"] = {"waiting": self._waiting(spec.name, "")}
        verdict = self.observed.verdict(latest)
        if latest.running:
            status["started"] = verdict.started
            status["ready"] = verdict.started and verdict.ready and (kind == "main" or spec.sidecar)
            if spec.resources.requests or spec.resources.limits:
                status["resources"] = _resources(spec)
                if spec.resources.requests:
                    status["allocatedResources"] = spec.resources.requests
        elif kind == "init" and latest.exited and not spec.sidecar:
            status["ready"] = latest.exit_code == 0
        return status

    def _id(self, container: runtime.Container) -> str:
        return f"{self.inputs.runtime_name}://{container.id}"

    def _will_restart(self, spec: Container, latest: runtime.Container, kind: str) -> bool:
        if self.observed.phase is not Phase.SYNCING or kind == "ephemeral":
            return False
        return should_restart(self.pod, spec, latest.exit_code, init=kind == "init")

    def _waiting(self, name: str, default: str) -> Json:
        reason, message = self.inputs.waiting.get(name, (default, ""))
        return {"reason": reason} | ({"message": message} if message else {})

    def _absent(self, spec: Container, kind: str, old: ContainerStatus) -> Json:
        """The state of a container that the runtime does not have."""
        if self.observed.phase is not Phase.SYNCING and old.container_id:
            lost = {
                "exitCode": 137, "reason": "ContainerStatusUnknown",
                "message": "The container could not be located when the pod was terminated",
                "startedAt": None, "finishedAt": None,
            }  # fmt: skip
            return {"terminated": lost}
        initializing = kind == "main" and self.pod.spec.init_containers
        return {"waiting": self._waiting(spec.name, "PodInitializing" if initializing else "ContainerCreating")}

    def _state(self, container: runtime.Container, spec: Container) -> Json:
        if container.state is State.CREATED:
            return {"waiting": self._waiting(spec.name, "ContainerCreating")}
        if container.running:
            return {"running": {"startedAt": rfc3339(container.started_at)}}
        return {"terminated": self._terminated(container)}

    def _terminated(self, container: runtime.Container) -> Json:
        code = container.exit_code
        reason = container.reason or ("Completed" if code == 0 else "Error")
        state: Json = {
            "exitCode": code, "reason": reason, "containerID": self._id(container),
            "startedAt": rfc3339(container.started_at) if container.started_at else None,
            "finishedAt": rfc3339(container.finished_at) if container.finished_at else None,
        }  # fmt: skip
        message = self.inputs.messages.get(container.id) or container.message
        return state | ({"message": message} if message else {})


def _resources(spec: Container) -> Json:
    parts = {"limits": spec.resources.limits, "requests": spec.resources.requests}
    return {name: part for name, part in parts.items() if part}


_UNKNOWN = ContainerStatus("")


def _old(pod: Pod, name: str) -> ContainerStatus:
    """What the API says of a container."""
    status = pod.status
    every = (*status.container_statuses, *status.init_container_statuses, *status.ephemeral_container_statuses)
    return next((item for item in every if item.name == name), _UNKNOWN)


def _exit_code(status: Json) -> int | None:
    """The exit code of a container that has ended, by state or, while it waits to run again, by last state."""
    for state in (status["state"], status["lastState"]):
        if "terminated" in state:
            return int(state["terminated"]["exitCode"])
        if "running" in state:
            return None
    return None


def _phase(pod: Pod, observed: Observed, init: Sequence[Json], main: Sequence[Json]) -> str:
    over = observed.phase is not Phase.SYNCING
    for spec, status in zip(pod.spec.init_containers, init, strict=True):
        code = _exit_code(status)
        if not spec.sidecar and code not in (None, 0) and not should_restart(pod, spec, code or 0, init=True):
            return "Failed"
    codes = [_exit_code(status) for status in main]
    running = any("running" in status["state"] for status in main)
    if over and not running:
        return "Succeeded" if codes and all(code == 0 for code in codes) else "Failed"
    if not running and _initializing(pod, init) and not any(code is not None for code in codes):
        return "Pending"
    if any(code is None and "running" not in status["state"] for code, status in zip(codes, main, strict=True)):
        return "Pending"
    if running:
        return "Running"
    pairs = list(zip(pod.spec.containers, codes, strict=True))
    if any(should_restart(pod, spec, code or 0, init=False) for spec, code in pairs):
        return "Running"
    return "Succeeded" if all(code == 0 for code in codes) else "Failed"


def _initializing(pod: Pod, init: Sequence[Json]) -> list[str]:
    """The init containers that have not done their part yet."""
    waiting = []
    for spec, status in zip(pod.spec.init_containers, init, strict=True):
        done = status["started"] if spec.sidecar else status["ready"]
        if not done:
            waiting.append(spec.name)
    return waiting


def _conditions(pod: Pod, observed: Observed, inputs: Inputs, status: Json) -> list[Json]:
    sandbox = observed.found.sandbox
    network = sandbox is not None and sandbox.ready and (pod.spec.host_network or bool(sandbox.ips))
    containers = _containers_ready(pod, status)
    told: list[tuple[str, str, str, str]] = [
        ("PodReadyToStartContainers", "True" if network else "False", "", ""),
        ("Initialized", *_initialized(pod, status)),
        ("Ready", *_ready(pod, containers)),
        ("ContainersReady", *containers),
        ("PodScheduled", "True", "", ""),
    ]
    if observed.end is not None and observed.end.disruption:
        told.append(("DisruptionTarget", "True", "TerminationByKubelet", observed.end.message))
    return [_condition(pod, inputs, *entry) for entry in told]


def _initialized(pod: Pod, status: Json) -> tuple[str, str, str]:
    if status["phase"] == "Succeeded":
        return "True", "PodCompleted", ""
    waiting = _initializing(pod, status.get("initContainerStatuses", ()))
    if not waiting or any(item.get("containerID") for item in status["containerStatuses"]):
        return "True", "", ""
    return "False", "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(waiting)}]"


def _containers_ready(pod: Pod, status: Json) -> tuple[str, str, str]:
    if status["phase"] == "Succeeded":
        return "False", "PodCompleted", ""
    if status["phase"] == "Failed":
        return "False", "PodFailed", ""
    sidecars = {spec.name for spec in pod.spec.init_containers if spec.sidecar}
    every = [item for item in status.get("initContainerStatuses", ()) if item["name"] in sidecars]
    unready = [item["name"] for item in (*every, *status["containerStatuses"]) if not item["ready"]]
    if unready:
        return "False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return "True", "", ""


def _ready(pod: Pod, containers: tuple[str, str, str]) -> tuple[str, str, str]:
    if containers[0] != "True":
        return containers
    for gate in pod.spec.readiness_gates:
        condition = pod.status.condition(gate.condition_type)
        if condition is None:
            text = f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.'
            return "False", "ReadinessGatesNotReady", text
        if condition.status != "True":
            text = f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {condition.status}'
            return "False", "ReadinessGatesNotReady", text
    return "True", "", ""


def _condition(pod: Pod, inputs: Inputs, type_: str, value: str, reason: str, message: str) -> dict[str, Any]:
    old = pod.status.condition(type_)
    same = old is not None and old.status == value and old.last_transition_time
    return {
        "type": type_, "status": value, "reason": reason or None, "message": message or None,
        "observedGeneration": pod.metadata.generation or None, "lastProbeTime": None,
        "lastTransitionTime": old.last_transition_time if old is not None and same else rfc3339(inputs.now),
    }  # fmt: skip
