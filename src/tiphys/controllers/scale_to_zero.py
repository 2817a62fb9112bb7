"""Workloads that go to zero when nobody uses the Service before them, and come back when somebody connects.

A Service asks for it (`kinds/core/sleep.py`); the nodes tell, in an annotation of their own, who waits for it and when
it was last used. What is put to sleep are the Deployments and StatefulSets whose pods the Service selects. How many
replicas one had is kept in its annotation; an autoscaler of its own takes over from one replica on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key
from tiphys.api.resource import Json, ResourceType
from tiphys.client.events import reference
from tiphys.controllers.base import After, Context
from tiphys.kinds.apps.deployment import DEPLOYMENTS, Deployment
from tiphys.kinds.apps.statefulset import STATEFUL_SETS, StatefulSet
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.service import SERVICES, Service
from tiphys.kinds.core.sleep import BEFORE, TRAFFIC, Use, decode, sleeps_after

_NAMESPACE = "namespace"
# Nodes tell of use not at once: it is older than it seems by up to half of what it puts off, or these seconds.
_LATE = 2.5
Workload = Deployment | StatefulSet


@dataclass(frozen=True, slots=True)
class Plan:
    """`replicas` for each workload that is to have others, by its place; `again` in seconds."""

    replicas: dict[int, int]
    again: float | None = None


def plan(after: int, uses: Iterable[Use], workloads: Sequence[Workload], since: float, now: float) -> Plan:
    """`since` is the last moment that counts as use besides what nodes told: when somebody was woken, or it began."""
    uses = list(uses)
    if any(use.waiting for use in uses):
        asleep = {place: each for place, each in enumerate(workloads) if each.spec.replicas == 0}
        # Whoever waits is told of again, when nobody waits any more.
        return Plan({place: _before(each) for place, each in asleep.items()})
    awake = [place for place, each in enumerate(workloads) if each.spec.replicas]
    if not awake:
        return Plan({})
    left = max([since, *(use.last for use in uses)]) + after + max(after / 2, _LATE) - now
    return Plan(dict.fromkeys(awake, 0)) if left <= 0 else Plan({}, left)


def _before(workload: Workload) -> int:
    text = workload.metadata.annotations.get(BEFORE, "")
    return max(int(text), 1) if text.isdecimal() else 1


class ScaleToZeroController:
    name = "scale-to-zero-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._services = context.watch(SERVICES, self._sleepy)
        self._nodes = context.informers.of(NODES)
        self._nodes.add_handler(self._on_node)
        self._kinds: tuple[ResourceType[Any], ...] = (DEPLOYMENTS, STATEFUL_SETS)
        for kind in self._kinds:
            informer = context.informers.of(kind)
            informer.add_index(_NAMESPACE, lambda each: (each.metadata.namespace,))
            informer.add_handler(self._on_workload)
        # Since when each Service has been looked after here, or was woken last.
        self._since: dict[Key, float] = {}

    async def reconcile(self, key: Key) -> After | None:
        service, now = self._services.get(key), self._context.clock.time()
        after = sleeps_after(service) if service is not None else None
        if service is None or after is None:
            self._since.pop(key, None)
            return None
        workloads = list(self._behind(service))
        uses = [decode(node.metadata.annotations.get(TRAFFIC, "")).get(key) for node in self._nodes.items()]
        planned = plan(
            after, [use for use in uses if use is not None], workloads, self._since.setdefault(key, now), now
        )  # fmt: skip
        for place, replicas in planned.replicas.items():
            await self._scale(service, workloads[place], replicas)
            self._since[key] = now
        return After(planned.again + 0.1) if planned.again is not None else None

    def _behind(self, service: Service) -> Iterable[Workload]:
        selector = service.spec.selector
        for kind in self._kinds if selector else ():
            for each in self._context.informers.of(kind).by(_NAMESPACE, service.metadata.namespace):
                labels = each.spec.template.metadata.labels
                if selector.items() <= labels.items() and each.metadata.deletion_timestamp is None:
                    yield each

    async def _scale(self, service: Service, workload: Workload, replicas: int) -> None:
        kind = DEPLOYMENTS if isinstance(workload, Deployment) else STATEFUL_SETS
        before = str(workload.spec.replicas) if not replicas else None
        patch: Json = {
            "metadata": {"uid": workload.metadata.uid, "annotations": {BEFORE: before}}, "spec": {"replicas": replicas},
        }  # fmt: skip
        try:
            await self._context.client.of(kind).patch(workload.metadata, patch)
        except NotFound:
            return
        reason = "ScaledToZero" if not replicas else "Woken"
        words = "nobody has used service" if not replicas else "somebody waits for service"
        about = reference(kind.api_version, kind.kind, workload.metadata)
        text = f"Scaled from {workload.spec.replicas} to {replicas}: {words} {service.metadata.name}"
        self._context.recorder.record(about, reason, text)

    def _sleepy(self, service: Service) -> Iterable[str]:
        return (service.metadata.key,)

    def _on_node(self, old: Node | None, new: Node | None) -> None:
        told = [decode(node.metadata.annotations.get(TRAFFIC, "")) if node is not None else {} for node in (old, new)]
        if told[0] != told[1]:
            for key in told[0].keys() | told[1].keys():
                if told[0].get(key) != told[1].get(key):
                    self._context.queue.add(key)

    def _on_workload(self, old: Any, new: Any) -> None:
        """A workload that somebody woke by hand is looked after again."""
        if new is None or (old is not None and old.spec.replicas == new.spec.replicas):
            return
        for service in self._services.items():
            key = service.metadata.key
            if service.metadata.namespace == new.metadata.namespace and sleeps_after(service) is not None:
                if old is not None and not old.spec.replicas:
                    self._since[key] = self._context.clock.time()
                self._context.queue.add(key)
