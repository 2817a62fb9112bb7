"""Placing a gang on the model of the cluster: all that have to find a place do, or the model is as it was.

Members look for a place one after the other, each seeing those before it. Nothing here writes to the API server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.gang import Gang
from tiphys.scheduler.gang_topology import domains, within
from tiphys.scheduler.pipeline import Unschedulable, choose
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import Candidate, Preemption, helpless, victimless
from tiphys.scheduler.profile import Profile

Profiles = Mapping[str, Profile]
# The promised rows of pods, by key.
Promises = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Placement:
    info: PodInfo
    node: str


@dataclass(frozen=True, slots=True)
class Refused:
    """`info` is the first member that found no place, `fitted` how many did, out of `wanted`.

    `domain` is the one that took most of them, of a gang that belongs into one.
    """

    info: PodInfo
    found: Unschedulable
    fitted: int
    wanted: int
    domain: str = ""

    def __str__(self) -> str:
        where = f" in {self.domain}" if self.domain else ""
        found = f"{self.fitted} of {self.wanted} pods of the group found a place{where}, {self.info.key} did not"
        return f"{found}: {self.found}"


@dataclass(frozen=True, slots=True)
class Room:
    """What preemption makes: where the members go once the victims, each with its node, are gone."""

    placements: tuple[Placement, ...]
    victims: tuple[Placement, ...]


class Trial:
    """Changes of the model that are taken back, last first, unless they are kept."""

    def __init__(self, cluster: Cluster, profiles: Profiles) -> None:
        self._cluster, self._profiles = cluster, profiles
        self.placed: list[Placement] = []
        self.removed: list[Placement] = []
        self._held: list[tuple[Plugin, Placement]] = []

    def place(self, info: PodInfo, row: int) -> None:
        placement = Placement(info, self._cluster.name(row))
        self._cluster.place(info, placement.node)
        self.placed.append(placement)
        for plugin in self._profiles[info.pod.spec.scheduler_name].reserving:
            plugin.reserve(info, placement.node, self._cluster)
            self._held.append((plugin, placement))

    def remove(self, info: PodInfo, node: str) -> None:
        self._cluster.remove_pod(info.key)
        self.removed.append(Placement(info, node))

    def take_back(self) -> None:
        while self._held:
            plugin, each = self._held.pop()
            plugin.unreserve(each.info, each.node, self._cluster)
        while self.placed:
            self._cluster.remove_pod(self.placed.pop().info.key)
        while self.removed:
            each = self.removed.pop()
            self._cluster.place(each.info, each.node)


def attempt(gang: Gang, cluster: Cluster, profiles: Profiles, promises: Promises) -> tuple[Placement, ...] | Refused:
    """Where the members go, counted there and with what plugins reserve; or who did not fit, with nothing changed.

    Raises what plugins raise, with nothing changed either.
    """
    if not gang.topology:
        return _attempt(gang, cluster, profiles, promises)
    refusals: list[Refused] = []
    for domain in domains(gang, cluster, promises):
        # One is tried in any case, to say what is missing there.
        if refusals and not domain.suffices(gang, cluster):
            continue
        found = _attempt(gang, cluster, within(domain, profiles), promises)
        if not isinstance(found, Refused):
            return found
        refusals.append(replace(found, domain=domain.name))
    if refusals:
        return max(refusals, key=lambda refusal: refusal.fitted)
    return Refused(gang.members()[0], _no_domain(gang, cluster), 0, gang.goal)


def _no_domain(gang: Gang, cluster: Cluster) -> Unschedulable:
    lacking = f"node(s) didn't have the label {gang.topology} that the pod group asks for"
    return Unschedulable(len(cluster), {lacking: len(cluster)})


def _attempt(gang: Gang, cluster: Cluster, profiles: Profiles, promises: Promises) -> tuple[Placement, ...] | Refused:
    trial = Trial(cluster, profiles)
    refusal: Refused | None = None
    members, goal = gang.members(), gang.goal
    try:
        for index, info in enumerate(members):
            found = _look(info, cluster, profiles, promises.get(info.key))
            if not isinstance(found, Unschedulable):
                trial.place(info, found)
                continue
            if refusal is None:
                refusal = Refused(info, found, len(trial.placed), goal)
            if len(trial.placed) + len(members) - index - 1 < goal:
                break
    except BaseException:
        trial.take_back()
        raise
    if refusal is not None and len(trial.placed) < goal:
        trial.take_back()
        return refusal
    return tuple(trial.placed)


def _look(info: PodInfo, cluster: Cluster, profiles: Profiles, promised: int | None = None) -> int | Unschedulable:
    """The row where one member fits by itself, if it may be tried."""
    profile = profiles[info.pod.spec.scheduler_name]
    for plugin in profile.gating:
        if not plugin.pre_enqueue(info, cluster):
            return Unschedulable(len(cluster), {}, frozenset({plugin.name}), f"waiting for what {plugin.name} needs")
    return choose(info, cluster, profile.plugins, promised)


def make_room(gang: Gang, cluster: Cluster, profiles: Profiles, preemption: Preemption) -> Room | str:
    """Whom to evict so that the whole gang fits, or upstream's words why nobody is; the model stays as it is."""
    if not cluster.tiers.below(gang.priority):
        return victimless(len(cluster))
    if not gang.topology:
        return _make_room(gang, cluster, profiles, preemption)
    why = helpless(len(cluster))
    for domain in domains(gang, cluster, {}):
        room = _make_room(gang, cluster, within(domain, profiles), preemption)
        if isinstance(room, Room):
            return room
        why = room
    return why


def _make_room(gang: Gang, cluster: Cluster, profiles: Profiles, preemption: Preemption) -> Room | str:
    trial = Trial(cluster, profiles)
    refused: list[tuple[PodInfo, Unschedulable]] = []
    reasons: list[str] = []
    try:
        for info in gang.members():
            found = _look(info, cluster, profiles)
            if isinstance(found, Unschedulable):
                refused.append((info, found))
            else:
                trial.place(info, found)
        for info, found in refused:
            if len(trial.placed) >= gang.goal:
                break
            reasons += _evict_for(info, found, trial, (gang, cluster, profiles, preemption))
        if len(trial.placed) < gang.goal:
            return reasons[0]
        return Room(tuple(trial.placed), tuple(trial.removed))
    finally:
        trial.take_back()


def _evict_for(
    info: PodInfo, found: Unschedulable, trial: Trial, model: tuple[Gang, Cluster, Profiles, Preemption]
) -> Iterator[str]:  # fmt: skip
    """Make room for one member on the model; why not, if there is none."""
    gang, cluster, profiles, preemption = model
    profile = profiles[info.pod.spec.scheduler_name]
    if found.refusal or not found.nodes or not profile.preempts:
        yield helpless(found.nodes)
        return
    # Those before it may have left room that they made.
    again = _look(info, cluster, profiles)
    if not isinstance(again, Unschedulable):
        trial.place(info, again)
        return
    room = preemption.find(info, cluster, profile.plugins)
    if not isinstance(room, Candidate):
        yield room
        return
    if any(victim.key in gang.pending or victim.key in gang.placed for victim in room.victims):
        # Members of unequal priority do not make room for each other.
        yield helpless(found.nodes)
        return
    for victim in room.victims:
        trial.remove(victim, cluster.name(room.row))
    trial.place(info, room.row)
