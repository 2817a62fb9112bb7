"""Gangs: groups of pods that are placed all or none, and who belongs to them.

A pod names its PodGroup in `spec.schedulingGroup`. The labels that the coscheduling plugin made known do too, without
any object: `scheduling.x-k8s.io/pod-group`, with `pod-group.scheduling.sigs.k8s.io/min-available` as a label or an
annotation.
Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/4671-gang-scheduling
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tiphys.kinds.core.pod import Pod
from tiphys.kinds.scheduling.podgroup import PodGroup
from tiphys.scheduler.pod import PodInfo

LABEL, MIN_AVAILABLE = "scheduling.x-k8s.io/pod-group", "pod-group.scheduling.sigs.k8s.io/min-available"
# No pod's key begins so: names of namespaces have no spaces.
_OBJECT, _LABELLED = "group ", "labelled group "


@dataclass(slots=True, eq=False)
class Gang:
    """`pending` members wait for a node, in the order of their coming; `placed` ones have one or had all they wanted.

    `least` is what labels ask for; a `group` says it in its spec. `apart` tells that the pending are queued each by
    itself, `making_room` that pods are being evicted for it.
    """

    key: str
    least: int | None = None
    group: PodGroup | None = None
    pending: dict[str, PodInfo] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)
    apart: bool = False
    making_room: bool = False

    @property
    def name(self) -> str:
        """As "namespace/name"."""
        return self.key.rpartition(" ")[2]

    @property
    def priority(self) -> int:
        return max((info.priority for info in self.pending.values()), default=0)

    @property
    def min_count(self) -> int | None:
        """None while nobody says: the PodGroup is not there."""
        if self.least is not None:
            return self.least
        if self.group is None:
            return None
        gang = self.group.spec.scheduling_policy.gang
        return gang.min_count if gang is not None else 0

    @property
    def goal(self) -> int:
        """How many of the pending have to find a place at once; 0 once enough have one: then each is on its own.

        Unless all belong into one topology domain.
        """
        return max(int(bool(self.topology and self.pending)), (self.min_count or 0) - len(self.placed))

    @property
    def topology(self) -> str:
        """The label of the nodes that have to have one value for all of its pods; empty if none has."""
        constraints = self.group.spec.scheduling_constraints.topology if self.group is not None else ()
        return constraints[0].key if constraints else ""

    @property
    def missing(self) -> int:
        """How many pods have yet to come."""
        return max(0, self.goal - len(self.pending))

    @property
    def together(self) -> bool:
        """Whether its pods have to wait for each other."""
        return self.min_count is None or self.goal > 0

    @property
    def complete(self) -> bool:
        return self.min_count is not None and bool(self.pending) and not self.missing

    @property
    def waits_for(self) -> str:
        """Why it is not tried, in a pod's condition."""
        if self.min_count is None:
            return f"waiting for the pod group {self.name} to be created"
        return f"waiting for {self.missing} more pods of group {self.name}"

    def members(self) -> list[PodInfo]:
        """The pending in the order in which they look for a place: the largest have the least choice."""
        return sorted(self.pending.values(), key=lambda info: (-info.priority, *(-amount for amount in info.scored)))


# What is queued and tried as one.
Entry = PodInfo | Gang


def gang_key(pod: Pod) -> str:
    """The key of the gang that a pod belongs to, empty if to none."""
    group = pod.spec.scheduling_group
    if group is not None and group.pod_group_name:
        return f"{_OBJECT}{pod.metadata.namespace}/{group.pod_group_name}"
    name = pod.metadata.labels.get(LABEL)
    return f"{_LABELLED}{pod.metadata.namespace}/{name}" if name and _least(pod) is not None else ""


def _least(pod: Pod) -> int | None:
    meta = pod.metadata
    text = meta.labels.get(MIN_AVAILABLE) or meta.annotations.get(MIN_AVAILABLE) or ""
    return int(text) if text.isdecimal() else None


class Gangs:
    """Who belongs to which gang. Nothing is kept for pods of none."""

    def __init__(self) -> None:
        self._gangs: dict[str, Gang] = {}
        self._of: dict[str, Gang] = {}

    def __iter__(self) -> Iterator[Gang]:
        return iter(self._gangs.values())

    @property
    def pending(self) -> int:
        """How many pods wait in gangs that have to be placed together."""
        return sum(len(gang.pending) for gang in self._gangs.values() if gang.together)

    def of(self, pod: str) -> Gang | None:
        """The gang of a pod by its key."""
        return self._of.get(pod)

    def add(self, info: PodInfo) -> Gang | None:
        """A pod waits for a node; its gang, if it has one."""
        gang = self._join(info.pod)
        if gang is not None:
            gang.placed.discard(info.key)
            gang.pending[info.key] = info
        return gang

    def place(self, pod: Pod) -> Gang | None:
        """A pod has a node, or ended well and wants none any more; its gang, if it has one and that is news."""
        gang = self._join(pod)
        if gang is None or pod.metadata.key in gang.placed:
            return None
        gang.pending.pop(pod.metadata.key, None)
        gang.placed.add(pod.metadata.key)
        return gang

    def leave(self, pod: str) -> Gang | None:
        """A pod is gone; its gang, if it had one."""
        gang = self._of.pop(pod, None)
        if gang is not None:
            gang.pending.pop(pod, None)
            gang.placed.discard(pod)
            self._forget(gang)
        return gang

    def set_group(self, old: PodGroup | None, new: PodGroup | None) -> Gang:
        """Take over a PodGroup, `new` is None if it is gone; its gang."""
        either = new or old
        assert either is not None, "a change has at least one side"
        gang = self._gangs.setdefault(key := _OBJECT + either.metadata.key, Gang(key))
        gang.group = new
        self._forget(gang)
        return gang

    def _join(self, pod: Pod) -> Gang | None:
        key = gang_key(pod)
        known = self._of.get(pod.metadata.key)
        if known is not None and known.key != key:
            # Its labels changed.
            self.leave(pod.metadata.key)
        if not key:
            return None
        gang = self._gangs.setdefault(key, Gang(key))
        if key.startswith(_LABELLED):
            gang.least = max(gang.least or 0, _least(pod) or 0)
        self._of[pod.metadata.key] = gang
        return gang

    def _forget(self, gang: Gang) -> None:
        if gang.group is None and not gang.pending and not gang.placed:
            self._gangs.pop(gang.key, None)
