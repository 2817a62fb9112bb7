"""`describe node`."""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.quantity import Quantity, canonical, parse
from tiphys.cli.builder import Info
from tiphys.cli.command import Call
from tiphys.cli.describers.text import Text, date, events_of, listed
from tiphys.cli.errors import ServerError
from tiphys.cli.times import age

Json = dict[str, Any]
_ROLE = "node-role.kubernetes.io/"
_SYSTEM = (
    ("Machine ID", "machineID"), ("System UUID", "systemUUID"), ("Boot ID", "bootID"),
    ("Kernel Version", "kernelVersion"), ("OS Image", "osImage"), ("Operating System", "operatingSystem"),
    ("Architecture", "architecture"), ("Container Runtime Version", "containerRuntimeVersion"),
    ("Kubelet Version", "kubeletVersion"),
)  # fmt: skip


def describe(call: Call, info: Info) -> str:
    text, node = Text(), info.obj
    spec, status = node.get("spec") or {}, node.get("status") or {}
    text.head(node, namespace=False)
    labels = node["metadata"].get("labels") or {}
    roles = [key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE) and key != _ROLE]
    text.field("Roles", ",".join(sorted(roles)) or "<none>")
    text.marks(node)
    text.field("CreationTimestamp", date(node["metadata"].get("creationTimestamp")))
    taints = sorted(spec.get("taints") or (), key=lambda taint: (taint["effect"], taint["key"]))
    text.many("Taints", map(taint_text, taints))
    text.field("Unschedulable", "true" if spec.get("unschedulable") else "false")
    _lease(call, text, info.name)
    _conditions(text, status.get("conditions") or [])
    text.line("Addresses:")
    for address in status.get("addresses") or ():
        text.field(address["type"], address["address"], 1)
    for title, key in (("Capacity", "capacity"), ("Allocatable", "allocatable")):
        if status.get(key):
            text.line(f"{title}:")
            for name in sorted(status[key]):
                text.field(name, canonical(str(status[key][name])), 1)
    text.line("System Info:")
    for title, key in _SYSTEM:
        text.field(title, (status.get("nodeInfo") or {}).get(key, ""), 1)
    if spec.get("podCIDR"):
        text.field("PodCIDR", spec["podCIDR"])
    if spec.get("podCIDRs"):
        text.field("PodCIDRs", ",".join(spec["podCIDRs"]))
    if spec.get("providerID"):
        text.field("ProviderID", spec["providerID"])
    _pods(call, text, node)
    # The kubelet's events name the node's name as its UID, so the UID cannot be asked for.
    nameless = {**node, "metadata": {**node["metadata"], "uid": ""}}
    text.events(events_of(call, Info(info.resource, "", info.name, nameless)))
    return text.render()


def taint_text(taint: Json) -> str:
    """`key=value:effect`, the value only where there is one."""
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def _lease(call: Call, text: Text, name: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
    try:
        spec = orjson.loads(call.transport.call("GET", path)).get("spec") or {}
    except ServerError as error:
        text.line(f"Lease:\tFailed to get lease: {error.message}")
        return
    text.line("Lease:")
    text.field("HolderIdentity", spec.get("holderIdentity") or "<unset>", 1)
    for title, key in (("AcquireTime", "acquireTime"), ("RenewTime", "renewTime")):
        text.field(title, date(spec[key]) if spec.get(key) else "<unset>", 1)


def _conditions(text: Text, conditions: list[Json]) -> None:
    if not conditions:
        return
    text.line("Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage")
    text.line("----\t------\t-----------------\t------------------\t------\t-------", 1)
    for item in conditions:
        times = f"{date(item.get('lastHeartbeatTime'))} \t{date(item.get('lastTransitionTime'))}"
        words = f"{item.get('reason', '')} \t{item.get('message', '')}"
        text.line(f"{item['type']} \t{item['status']} \t{times} \t{words}", 1)


def _pods(call: Call, text: Text, node: Json) -> None:
    chosen = f"spec.nodeName={node['metadata']['name']},status.phase!=Failed,status.phase!=Succeeded"
    pods = listed(call, "pods", "", fieldSelector=chosen)
    status = node.get("status") or {}
    allocatable = status.get("allocatable") or status.get("capacity") or {}
    text.line(f"Non-terminated Pods:\t({len(pods)} in total)")
    text.line("Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge", 1)
    text.line("---------\t----\t\t------------\t----------\t---------------\t-------------\t---", 1)
    totals: dict[str, dict[str, Quantity]] = {"requests": {}, "limits": {}}
    for pod in pods:
        used = {which: amounts(pod["spec"], which) for which in totals}
        for which, found in used.items():
            for name, quantity in found.items():
                totals[which][name] = _sum(totals[which].get(name), quantity)
        cells = "\t".join(_share(used[which].get(name), allocatable.get(name))
                          for name in ("cpu", "memory") for which in ("requests", "limits"))  # fmt: skip
        metadata = pod["metadata"]
        text.line(f"{metadata['namespace']}\t{metadata['name']}\t\t{cells}\t{age(metadata['creationTimestamp'])}", 1)
    _allocated(text, totals, allocatable)


def _allocated(text: Text, totals: dict[str, dict[str, Quantity]], allocatable: Json) -> None:
    text.line("Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)")
    text.line("Resource\tRequests\tLimits", 1)
    text.line("--------\t--------\t------", 1)
    standard = ["cpu", "memory", "ephemeral-storage"]
    standard += sorted(name for name in allocatable if name.startswith("hugepages-"))
    for name in standard:
        shares = "\t".join(_share(totals[which].get(name), allocatable.get(name)) for which in ("requests", "limits"))
        text.line(f"{name}\t{shares}", 1)
    for name in sorted(allocatable):
        if name not in standard and name != "pods":
            text.line(f"{name}\t{totals['requests'].get(name, 0)}\t{totals['limits'].get(name, 0)}", 1)


def amounts(spec: Json, which: str) -> dict[str, Quantity]:
    """A pod's effective requests or limits: its containers' sum, or the largest init container if that is more."""
    total: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        for name, value in ((container.get("resources") or {}).get(which) or {}).items():
            total[name] = _sum(total.get(name), parse(value))
    for container in spec.get("initContainers") or ():
        for name, value in ((container.get("resources") or {}).get(which) or {}).items():
            if container.get("restartPolicy") == "Always":
                total[name] = _sum(total.get(name), parse(value))
            elif name not in total or parse(value) > total[name]:
                total[name] = parse(value)
    for name, value in (spec.get("overhead") or {}).items():
        if name in total or which == "requests":
            total[name] = _sum(total.get(name), parse(value))
    return total


def _sum(one: Quantity | None, other: Quantity) -> Quantity:
    return other if one is None else one + other


def _share(used: Quantity | None, of: Any) -> str:
    whole = parse(of).nanos if of is not None else 0
    nanos = used.nanos if used is not None else 0
    return f"{used if used is not None else 0} ({int(nanos / whole * 100) if whole else 0}%)"
