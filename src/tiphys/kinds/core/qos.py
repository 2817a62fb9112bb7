"""The QoS class of a pod. Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import quantity
from tiphys.api.resource import Json

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
_COMPUTE = ("cpu", "memory")


def qos_class(spec: Json) -> str:
    """Guaranteed: every container limits cpu and memory and requests as much; BestEffort: none says anything."""
    resources = list(_resources(spec))
    if not any(_says(amounts) for amounts in resources):
        return BEST_EFFORT
    return GUARANTEED if all(_guaranteed(amounts) for amounts in resources) else BURSTABLE


def _resources(spec: Json) -> Iterator[Json]:
    """The pod's own where it has them, else those of its containers."""
    own = spec.get("resources") or {}
    if own.get("limits") or own.get("requests"):
        yield own
        return
    for name in ("containers", "initContainers"):
        for container in spec.get(name) or ():
            yield container.get("resources") or {}


def _amount(amounts: Json, kind: str, name: str) -> quantity.Quantity:
    text = (amounts.get(kind) or {}).get(name)
    return quantity.ZERO if text is None else quantity.parse(text)


def _says(amounts: Json) -> bool:
    return any(_amount(amounts, kind, name) for kind in ("limits", "requests") for name in _COMPUTE)


def _guaranteed(amounts: Json) -> bool:
    for name in _COMPUTE:
        limit = _amount(amounts, "limits", name)
        requested = _amount(amounts, "requests", name) or limit
        if not limit or requested != limit:
            return False
    return True
