"""What a DaemonSet's controller does next: one pure function over what the informers show.

`_manage` keeps one pod on every node that is to have one, `_roll` replaces pods of older templates within the limits.
Source: https://kubernetes.io/docs/tasks/manage-daemon/update-daemon-set/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from tiphys.api.intstr import scaled
from tiphys.api.resource import Json
from tiphys.controllers.controller_revisions import HASH
from tiphys.controllers.daemonset_placement import Fit, fit, node_of
from tiphys.controllers.pods import available_at
from tiphys.kinds.apps.daemonset import DaemonSet
from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod

# No reconcile makes or deletes more than this; the next one goes on.
_BURST = 250
_ABSENT = Fit(False, False)


@dataclass(slots=True)
class Plan:
    """`create` names nodes; `ended` are pods to delete that finished by themselves. `again` is in seconds."""

    create: list[str] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    ended: list[Pod] = field(default_factory=list)
    status: Json = field(default_factory=dict)
    again: float | None = None


@dataclass(frozen=True, slots=True)
class _View:
    """A DaemonSet as one moment shows it. `pods` are by node, those of a node in order of age.

    Of the two limits of an update that rolls, in pods, one is not 0.
    """

    owner: DaemonSet
    hash: str
    pods: Mapping[str, Sequence[Pod]]
    fits: Mapping[str, Fit]
    now: float
    unavailable: int = 0
    surge: int = 0

    def on(self, node: str) -> list[Pod]:
        """Those that are not going."""
        return [pod for pod in self.pods.get(node, ()) if not pod.deleted]

    def new(self, pod: Pod) -> bool:
        return pod.metadata.labels.get(HASH) == self.hash

    def available(self, pod: Pod) -> bool:
        at = available_at(pod, self.owner.spec.min_ready_seconds)
        return at is not None and at <= self.now

    @property
    def rolls(self) -> bool:
        return self.owner.spec.update_strategy.type == "RollingUpdate"


def plan(owner: DaemonSet, hash_: str, nodes: Sequence[Node], pods: Sequence[Pod], now: float) -> Plan:
    """`hash_` is that of the present template; `pods` are those that `owner` owns."""
    by_node: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=_age):
        by_node.setdefault(node_of(pod), []).append(pod)
    fits = {node.metadata.name: fit(owner.spec.template.spec, node) for node in nodes}
    view = _View(owner, hash_, by_node, fits, now, *_limits(owner, fits))
    planned = Plan()
    if owner.metadata.deletion_timestamp is None:
        for node in {**fits, **dict.fromkeys(by_node)}:
            _manage(view, node, planned)
        if view.rolls:
            _roll(view, planned)
    planned.create, planned.delete = planned.create[:_BURST], planned.delete[:_BURST]
    planned.status = _status(view)
    waits = [at - now for at in _availabilities(view) if at > now]
    planned.again = min(waits) if waits else None
    return planned


def _limits(owner: DaemonSet, fits: Mapping[str, Fit]) -> tuple[int, int]:
    rolling, total = owner.spec.update_strategy.rolling_update, sum(each.run for each in fits.values())
    if owner.spec.update_strategy.type != "RollingUpdate":
        return 0, 0
    surge = scaled(rolling.max_surge, total, round_up=True)
    unavailable = scaled(rolling.max_unavailable, total, round_up=True)
    return (unavailable if unavailable or surge else 1), surge


def _age(pod: Pod) -> tuple[bool, str, str]:
    return not pod.spec.node_name, pod.metadata.creation_timestamp, pod.metadata.name


def _availabilities(view: _View) -> list[float]:
    wait = view.owner.spec.min_ready_seconds
    if not wait:
        return []
    times = (available_at(pod, wait) for pods in view.pods.values() for pod in pods if not pod.deleted)
    return [at for at in times if at is not None]


def _manage(view: _View, node: str, planned: Plan) -> None:
    held, present, wanted = view.pods.get(node, ()), view.on(node), view.fits.get(node, _ABSENT)
    if not wanted.stay:
        # Where the node is gone, pods that ran there are for the garbage collector of pods.
        planned.delete += [pod for pod in present if node in view.fits or not pod.spec.node_name]
        return
    if wanted.run and not held:
        planned.create.append(node)
        return
    planned.ended += [pod for pod in present if pod.finished]
    running = [pod for pod in present if not pod.finished]
    if not view.surge:
        planned.delete += running[1:]
    elif len(running) > 1:
        _thin(view, running, planned)


def _thin(view: _View, running: Sequence[Pod], planned: Plan) -> None:
    """Of a surging update a node keeps one pod of each side, and the old one only until it is of no more use."""
    new = [pod for pod in running if view.new(pod)]
    old = [pod for pod in running if not view.new(pod)]
    planned.delete += new[1:] + old[1:]
    if new and old and (not view.available(old[0]) or view.available(new[0])):
        planned.delete.append(old[0])


def _roll(view: _View, planned: Plan) -> None:
    # What `_manage` just decided on is for it to finish first.
    busy = {node_of(pod) for pod in (*planned.delete, *planned.ended)}
    nodes = [node for node, each in view.fits.items() if each.stay]
    if view.surge:
        _surge(view, [node for node in nodes if node not in busy], planned)
        return
    broken, candidates, down = [], [], 0
    for node in nodes:
        present = view.on(node)
        if node in busy or not present:
            down += view.fits[node].run or node in busy
        elif view.new(present[0]):
            down += not view.available(present[0])
        elif not view.available(present[0]):
            broken.append(present[0])
            down += 1
        else:
            candidates.append(present[0])
    planned.delete += broken + candidates[: max(view.unavailable - down, 0)]


def _surge(view: _View, nodes: Sequence[str], planned: Plan) -> None:
    broken, candidates, used = [], [], 0
    for node in nodes:
        present = view.on(node)
        old = [pod for pod in present if not view.new(pod)]
        if not old or not view.fits[node].run:
            continue
        if len(present) > 1:
            used += 1
        elif not view.available(old[0]):
            broken.append(node)
        else:
            candidates.append(node)
    planned.create += broken + candidates[: max(view.surge - used, 0)]


def _status(view: _View) -> Json:
    """What of the status changes, as a merge patch; empty if nothing does."""
    counts = dict.fromkeys(_COUNTS, 0)
    for node in view.fits:
        run, held = view.fits[node].run, view.on(node) or view.pods.get(node, ())
        counts["desiredNumberScheduled"] += run
        if not held:
            continue
        counts["currentNumberScheduled" if run else "numberMisscheduled"] += 1
        if run:
            counts["numberReady"] += held[0].ready
            counts["numberAvailable"] += view.available(held[0])
            counts["updatedNumberScheduled"] += view.new(held[0])
    counts["numberUnavailable"] = counts["desiredNumberScheduled"] - counts["numberAvailable"]
    counts["observedGeneration"] = view.owner.metadata.generation
    old = msgspec.to_builtins(view.owner.status)
    # These the schema requires, also where they are 0; a status without a word has them all.
    fresh = not view.owner.status.observed_generation
    return {name: value for name, value in counts.items() if fresh or old.get(name, 0) != value}


_COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable",
)  # fmt: skip
