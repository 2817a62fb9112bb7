"""The Node object of this kubelet, as JSON. Pure.

https://kubernetes.io/docs/reference/node/node-status/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tiphys import KUBERNETES_VERSION
from tiphys.api import quantity
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.kinds.core.node import Node
from tiphys.kinds.storage.local import DIRECTORY
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.node_facts import Machine, Pressure
from tiphys.kubelet.runtime import Image, RuntimeInfo

_MAX_IMAGES = 50


@dataclass(frozen=True, slots=True)
class NodeInputs:
    """`network` is False until the pod network is configured; `closing` once the machine goes down."""

    now: float
    machine: Machine
    runtime: RuntimeInfo | None
    pressure: Pressure = field(default_factory=Pressure)
    images: Sequence[Image] = ()
    network: bool = True
    closing: bool = False


def capacity(config: KubeletConfig, machine: Machine) -> dict[str, str]:
    found = {
        "cpu": str(machine.cpus), "memory": f"{machine.memory >> 10}Ki", "pods": str(config.max_pods),
        "ephemeral-storage": f"{machine.disk >> 10}Ki",
    }  # fmt: skip
    found |= {name: str(quantity.of(size, quantity.BINARY_SI)) for name, size in machine.hugepages.items()}
    return found | dict(config.capacity)


def allocatable(config: KubeletConfig, machine: Machine) -> dict[str, str]:
    """Capacity without what is reserved."""
    found = capacity(config, machine)
    for name, text in config.reserved.items():
        left = quantity.parse(found.get(name, "0")) - quantity.parse(text)
        found[name] = str(max(left, quantity.ZERO))
    return found


def labels(config: KubeletConfig, machine: Machine) -> dict[str, str]:
    found = {"kubernetes.io/hostname": config.node_name}
    for prefix in ("kubernetes.io", "beta.kubernetes.io"):
        found |= {f"{prefix}/os": "linux", f"{prefix}/arch": machine.architecture}
    return found | dict(config.labels)


def registration(config: KubeletConfig, machine: Machine) -> Json:
    """The Node to create when the API has none."""
    spec: Json = {"taints": [dict(taint) for taint in config.taints]} if config.taints else {}
    if config.provider_id:
        spec["providerID"] = config.provider_id
    return {
        "apiVersion": "v1", "kind": "Node", "spec": spec,
        "metadata": {
            "name": config.node_name, "labels": labels(config, machine),
            "annotations": {
                "volumes.kubernetes.io/controller-managed-attach-detach": "true", DIRECTORY: str(config.volumes),
            },
        },
    }  # fmt: skip


def status(config: KubeletConfig, node: Node | None, inputs: NodeInputs) -> Json:
    """The status to report; `node` is what the API has, whose transition times live on."""
    machine, runtime = inputs.machine, inputs.runtime
    info = {
        "machineID": machine.machine_id, "systemUUID": machine.system_uuid, "bootID": machine.boot_id,
        "kernelVersion": machine.kernel, "osImage": machine.os_image,
        "containerRuntimeVersion": f"{runtime.name}://{runtime.version}" if runtime else "unknown://",
        "kubeletVersion": KUBERNETES_VERSION, "kubeProxyVersion": "", "operatingSystem": "linux",
        "architecture": machine.architecture,
    }  # fmt: skip
    addresses = [{"type": "InternalIP", "address": ip} for ip in config.addresses]
    images = sorted((image for image in inputs.images if image.names), key=lambda item: -item.size)[:_MAX_IMAGES]
    return {
        "capacity": capacity(config, machine), "allocatable": allocatable(config, machine), "nodeInfo": info,
        "addresses": [*addresses, {"type": "Hostname", "address": config.node_name}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "images": [{"names": [*item.digests, *item.names], "sizeBytes": item.size} for item in images],
        "conditions": _conditions(node, inputs),
    }  # fmt: skip


def _conditions(node: Node | None, inputs: NodeInputs) -> list[Json]:
    short = inputs.pressure
    told: list[tuple[str, bool, str, str]] = [
        _pressure("Memory", short.memory, "InsufficientMemory", "SufficientMemory", "memory"),
        _pressure("Disk", short.disk, "DiskPressure", "NoDiskPressure", "disk"),
        _pressure("PID", short.pids, "InsufficientPID", "SufficientPID", "PID"),
        _ready(inputs),
    ]
    return [_condition(node, inputs.now, *entry) for entry in told]


def _pressure(kind: str, short: bool, bad: str, good: str, noun: str) -> tuple[str, bool, str, str]:
    """A pressure condition, in upstream's words, which differ for the disk."""
    if noun == "disk":
        message = "kubelet has disk pressure" if short else "kubelet has no disk pressure"
    else:
        message = f"kubelet has {'insufficient' if short else 'sufficient'} {noun} available"
    return f"{kind}Pressure", short, f"KubeletHas{bad if short else good}", message


def _ready(inputs: NodeInputs) -> tuple[str, bool, str, str]:
    runtime = inputs.runtime
    if inputs.closing:
        return "Ready", False, "KubeletNotReady", "node is shutting down"
    if runtime is None or not runtime.ready:
        why = runtime.message if runtime is not None else "it does not answer"
        return "Ready", False, "KubeletNotReady", f"container runtime is down: {why}"
    if not inputs.network or not runtime.network_ready:
        why = runtime.message or "the node has no podCIDR yet"
        return "Ready", False, "KubeletNotReady", f"container runtime network not ready: {why}"
    return "Ready", True, "KubeletReady", "kubelet is posting ready status"


def _condition(node: Node | None, now: float, type_: str, value: bool, reason: str, message: str) -> Json:
    word = "True" if value else "False"
    old = node.condition(type_) if node is not None else None
    moved = old is None or old.status != word or not old.last_transition_time
    return {
        "type": type_, "status": word, "reason": reason, "message": message, "lastHeartbeatTime": rfc3339(now),
        "lastTransitionTime": rfc3339(now) if moved or old is None else old.last_transition_time,
    }  # fmt: skip


def facts_changed(known: Mapping[str, object] | None, fresh: Json) -> bool:
    """Whether a status says anything new besides the time."""
    if known is None:
        return True

    def timeless(value: Mapping[str, object]) -> Json:
        conditions = value["conditions"]
        assert isinstance(conditions, list)
        return {**value, "conditions": [(item["type"], item["status"], item["reason"]) for item in conditions]}

    return timeless(known) != timeless(fresh)


def shows(node: Node, told: Mapping[str, object]) -> bool:
    """Whether the conditions of a status that was told stand in the Node."""
    conditions = told["conditions"]
    assert isinstance(conditions, list)
    held = {condition.type: condition.status for condition in node.status.conditions}
    return all(held.get(item["type"]) == item["status"] for item in conditions)
