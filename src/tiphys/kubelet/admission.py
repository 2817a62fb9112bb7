"""Whether a pod that was bound here can be taken: the scheduler decides on what it knew, the node on what is. Pure.

https://kubernetes.io/docs/concepts/scheduling-eviction/ ; a pod refused here is Failed, and its owner makes another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tiphys.api import quantity
from tiphys.api.quantity import Quantity
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.resources import amount, requested
from tiphys.kubelet.steps import End

_COMPUTE = ("cpu", "memory", "ephemeral-storage")


def admit(pod: Pod, others: Iterable[Pod], allocatable: Mapping[str, str], labels: Mapping[str, str]) -> End | None:
    """Why not, or None. `others` are the pods that hold resources here now; `labels` are the node's."""
    present = list(others)
    wrong = [key for key, value in pod.spec.node_selector.items() if labels.get(key) != value]
    if wrong:
        return End("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
    if set(_host_ports(pod)) & {port for other in present for port in _host_ports(other)}:
        why = "node(s) didn't have free ports for the requested pod ports"
        return End("NodePorts", f"Predicate NodePorts failed: {why}")
    for name in _COMPUTE:
        wanted, room = requested(pod, name), amount(allocatable, name)
        used = sum((requested(other, name) for other in present), quantity.ZERO)
        if wanted and name in allocatable and used + wanted > room:
            return End(f"OutOf{name}", _short(name, wanted, used, room))
    if len(present) + 1 > amount(allocatable, "pods").value():
        return End("OutOfpods", _short("pods", quantity.of(1), quantity.of(len(present)), amount(allocatable, "pods")))
    return None


def _host_ports(pod: Pod) -> Iterator[tuple[int, str, str]]:
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        for port in container.ports:
            if port.host_port:
                yield port.host_port, port.protocol, port.host_ip


def _short(name: str, wanted: Quantity, used: Quantity, room: Quantity) -> str:
    numbers = [q.milli() if name == "cpu" else q.value() for q in (wanted, used, room)]
    return "Node didn't have enough resource: {}, requested: {}, used: {}, capacity: {}".format(name, *numbers)
