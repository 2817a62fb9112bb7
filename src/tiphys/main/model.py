"""The scheduler's model of a cluster, read over its API: for commands that ask its plugins what they would do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from tiphys.api.resource import ResourceType
from tiphys.client.client import Listed
from tiphys.kinds.core.namespace import NAMESPACES
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.policy.poddisruptionbudget import POD_DISRUPTION_BUDGETS
from tiphys.kinds.scheduling.podgroup import POD_GROUPS
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.fairness import FairSort
from tiphys.scheduler.gang import Gangs
from tiphys.scheduler.kin import KINDS, Kin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import Preemption, budget_of
from tiphys.scheduler.profile import Profile

if TYPE_CHECKING:
    from tiphys.cli.transport import Transport

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(slots=True)
class Model:
    """`pods` are all there are that have not ended, placed or not."""

    cluster: Cluster = field(default_factory=Cluster)
    preemption: Preemption = field(default_factory=Preemption)
    gangs: Gangs = field(default_factory=Gangs)
    pods: list[Pod] = field(default_factory=list)
    kin: Kin = field(default_factory=lambda: Kin(lambda resource: _Listed(())))

    def waiting(self) -> list[PodInfo]:
        """The pods that are to be tried: that have no node and were not refused."""
        pods = (pod for pod in self.pods if not pod.spec.node_name and not pod.spec.scheduling_gates)
        return [PodInfo(pod) for pod in pods if pod.status.condition("PodScheduled") is None]


def read(transport: Transport, profiles: Collection[Profile]) -> Model:
    """Raises what the transport does."""
    return build(lambda resource: listed(transport, resource), profiles)


def needed(profiles: Collection[Profile]) -> list[ResourceType[Any]]:
    """The kinds that a model is built of."""
    views = (view for profile in profiles for plugin in profile.plugins for view in plugin.views)
    seen = (resource for view in dict.fromkeys(views) for resource in view.resources)
    return list(dict.fromkeys([NAMESPACES, NODES, PODS, POD_DISRUPTION_BUDGETS, POD_GROUPS, *KINDS, *seen]))


def build(listed: Callable[[ResourceType[Any]], Iterable[Any]], profiles: Collection[Profile]) -> Model:
    """The model of all that `listed` gives of each kind."""
    model = Model(kin=Kin(lambda resource: _Listed(listed(resource))))
    cluster = model.cluster
    for fairness in (profile.fairness for profile in profiles if profile.fairness is not None):
        # Before there are pods, which it counts.
        FairSort(fairness, cluster)
    for namespace in listed(NAMESPACES):
        cluster.population.set_namespace(namespace.metadata.name, namespace.metadata.labels)
    for view in dict.fromkeys(view for profile in profiles for plugin in profile.plugins for view in plugin.views):
        for resource in view.resources:
            for obj in listed(resource):
                cluster.view(view).changed(resource, None, obj)
    for node in listed(NODES):
        cluster.set_node(node)
    names = {profile.name for profile in profiles}
    for pod in listed(PODS):
        if pod.status.phase == "Succeeded":
            model.gangs.place(pod)
        if not pod.finished:
            model.pods.append(pod)
            _take_over(PodInfo(pod, model.kin.of), model, ours=pod.spec.scheduler_name in names)
    for budget in listed(POD_DISRUPTION_BUDGETS):
        model.preemption.set_budget(budget.metadata, budget_of(budget))
    for group in listed(POD_GROUPS):
        model.gangs.set_group(None, group)
    return model


class _Listed:
    """All objects of a kind, as the lister that Kin asks."""

    def __init__(self, objects: Iterable[Any]) -> None:
        self._objects = {obj.metadata.key: obj for obj in objects}
        self._indexes: dict[str, dict[str, list[Any]]] = {}

    def get(self, key: str) -> Any | None:
        return self._objects.get(key)

    def by(self, index: str, value: str) -> Iterable[Any]:
        return self._indexes[index].get(value, ())

    def add_index(self, name: str, index: Callable[[Any], Iterable[str]]) -> None:
        made = self._indexes.setdefault(name, {})
        for obj in self._objects.values():
            for value in index(obj):
                made.setdefault(value, []).append(obj)


def _take_over(info: PodInfo, model: Model, *, ours: bool) -> None:
    pod = info.pod
    if pod.spec.node_name:
        model.cluster.place(info, pod.spec.node_name)
        model.gangs.place(pod)
        return
    if pod.status.nominated_node_name:
        model.cluster.nominate(info, pod.status.nominated_node_name)
    if ours and not pod.deleted and not pod.spec.scheduling_gates:
        model.gangs.add(info)


def listed(transport: Transport, resource: ResourceType[T]) -> Iterator[T]:
    """All objects of a kind, of all namespaces. Raises what the transport does."""
    data = transport.call("GET", resource.path())
    yield from msgspec.json.decode(data, type=Listed[resource.model]).items  # type: ignore[name-defined]
