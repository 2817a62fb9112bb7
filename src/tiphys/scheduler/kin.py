"""Which pods belong with a pod that says nothing of spreading: those of its services and of its controller.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/#internal-default-constraints
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from tiphys.api.resource import ResourceType
from tiphys.api.selectors import LabelSelector, Requirement, of_labels
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.apps.statefulset import STATEFUL_SETS
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.replicationcontroller import REPLICATION_CONTROLLERS
from tiphys.kinds.core.service import SERVICES, Service
from tiphys.scheduler.matching import compiled

_NAMESPACE = "namespace"


class Lister(Protocol):
    """What there is of one kind, as an Informer has it."""

    def get(self, key: str) -> Any | None: ...

    def by(self, index: str, value: str) -> Iterable[Any]: ...

    def add_index(self, name: str, index: Callable[[Any], Iterable[str]]) -> None: ...


# The kinds that say who belongs together.
KINDS: tuple[ResourceType[Any], ...] = (SERVICES, REPLICA_SETS, STATEFUL_SETS, REPLICATION_CONTROLLERS)


class Kin:
    def __init__(self, lister: Callable[[ResourceType[Any]], Lister]) -> None:
        """`lister` gives that of each of KINDS."""
        self._services, self._replica_sets, self._stateful_sets, self._controllers = map(lister, KINDS)
        self._services.add_index(_NAMESPACE, _namespace)

    def of(self, pod: Pod) -> LabelSelector | None:
        """The selector of a pod's kin; None if it has none."""
        rules = list(dict.fromkeys([*self._of_services(pod), *self._of_owner(pod)]))
        return LabelSelector(sorted(rules, key=lambda rule: rule.key)) if rules else None

    def _of_services(self, pod: Pod) -> Iterator[Requirement]:
        for service in self._services.by(_NAMESPACE, pod.metadata.namespace):
            selector = service.spec.selector
            if selector and selector.items() <= pod.metadata.labels.items():
                yield from of_labels(selector).requirements

    def _of_owner(self, pod: Pod) -> Iterable[Requirement]:
        owner = pod.metadata.controller
        if owner is None:
            return ()
        key = f"{pod.metadata.namespace}/{owner.name}"
        if owner.kind == "ReplicationController":
            found = self._controllers.get(key)
            return of_labels(found.spec.selector).requirements if found is not None else ()
        sets = {"ReplicaSet": self._replica_sets, "StatefulSet": self._stateful_sets}.get(owner.kind)
        made = sets.get(key) if sets is not None else None
        return compiled(made.spec.selector).requirements if made is not None else ()


def _namespace(service: Service) -> Iterable[str]:
    return (service.metadata.namespace,)
