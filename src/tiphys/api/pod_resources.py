"""What a pod asks for altogether: requests and limits of its containers, in the order in which they run.

Sidecars (init containers that restart always) run beside the containers; of the other init containers the largest
counts, with the sidecars started before it. What the pod itself says of cpu, memory and hugepages comes first.
Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers
"""

from __future__ import annotations

from tiphys.api.quantity import ZERO, Quantity, parse
from tiphys.api.resource import Json

Amounts = dict[str, Quantity]


def parsed(amounts: Json | None) -> Amounts:
    return {name: parse(amount) for name, amount in (amounts or {}).items()}


def add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, ZERO) + amount


def totals(spec: Json, kind: str) -> Amounts:
    """By resource name, for a pod's spec; `kind` is "requests" or "limits"."""
    total: Amounts = {}
    for container in spec.get("containers") or ():
        add(total, _of(container, kind))
    sidecars: Amounts = {}
    largest: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _of(container, kind)
        if container.get("restartPolicy") == "Always":
            add(total, own)
            add(sidecars, own)
            own = dict(sidecars)
        else:
            add(own, sidecars)
        for name, amount in own.items():
            largest[name] = max(largest.get(name, ZERO), amount)
    for name, amount in largest.items():
        total[name] = max(total.get(name, ZERO), amount)
    total |= parsed((spec.get("resources") or {}).get(kind))
    for name, amount in parsed(spec.get("overhead")).items():
        if kind == "requests" or name in total:
            total[name] = total.get(name, ZERO) + amount
    return total


def best_effort(spec: Json) -> bool:
    """Whether nothing of the pod asks for cpu or memory: the QoS class BestEffort."""
    holders = [spec, *(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return not any(_of(holder, kind).get(name) for holder in holders for kind in _KINDS for name in ("cpu", "memory"))


_KINDS = ("requests", "limits")


def _of(container: Json, kind: str) -> Amounts:
    return parsed((container.get("resources") or {}).get(kind))
