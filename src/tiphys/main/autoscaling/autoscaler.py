"""The cluster autoscaler: more nodes for pods that find no place, fewer when the others have room for all.

It asks the scheduler's own plugins, on a model of the cluster, so that what it adds is what the scheduler will use. One
change at a time, each to its end: after a restart there is nothing to remember but a taint, which is taken away. What
fails is tried again with a growing delay, and nodes that were half made are removed.
Source: https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/FAQ.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from tiphys.api.errors import ApiError
from tiphys.api.resource import ResourceType
from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder, reference
from tiphys.client.informer import Informers
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.main import model as models
from tiphys.main.autoscaling.drain import TAINT, Drain
from tiphys.main.autoscaling.provider import NodeGroup, NodeProvider, ProviderError
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.expansion import Expansion, Group, expand
from tiphys.scheduler.movable import immovable, stays
from tiphys.scheduler.packing import pack
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.profile import Profile
from tiphys.scheduler.rebalance import Model, used

NAME = "cluster-autoscaler"
_log = Log(NAME)
_SCALED = Counter("cluster_autoscaler_scaled_nodes_total", "Nodes added and removed.", ("direction", "group"))
_FAILED = Counter("cluster_autoscaler_failed_scale_ups_total", "Attempts to add nodes that failed.", ("group",))
# Pods that are refused together are helped together; and how often it is looked whether a node is needed. Seconds.
_GATHER, _LOOK = 0.3, 5.0
# A node that is used more than this is not given up, and none is while the last change is so young. Seconds.
_USED, _CALM = 0.5, 10.0
# For how long a node is let be that could not be given up (upstream's figure). Seconds.
_SPARED = 180.0
# A node that was made is to be Ready by then.
_READY_SECONDS = 60.0
_RETRY = Backoff(initial=5.0, maximum=300.0)
_NOT_A_TEMPLATES = ("node-role.kubernetes.io/", "kubernetes.io/hostname")


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Options:
    """`unneeded` seconds must a node idle before it goes."""

    unneeded: float = 60.0


class ClusterAutoscaler:
    def __init__(
        self, client: Client, informers: Informers, clock: Clock, profiles: Sequence[Profile],
        providers: Sequence[NodeProvider], options: Any = Options,
    ) -> None:  # fmt: skip
        """`options` gives them as they are now."""
        self._client, self._informers, self._clock, self._options = client, informers, clock, options
        self._profiles = {profile.name: profile for profile in profiles}
        self._providers = providers
        self._needed = models.needed(profiles)
        self._recorder = EventRecorder(client, NAME, clock)
        self._nodes, self._pods = informers.of(NODES), informers.of(PODS)
        self._woken = asyncio.Event()
        self._failures: dict[str, _Failures] = {}
        # Since when each node has not been needed, and when the last change was.
        self._idle: dict[str, float] = {}
        self._changed = clock.monotonic() - _CALM
        # Nodes that could not be given up, and until when they are let be.
        self._spared: dict[str, float] = {}
        self._drain = Drain(client, self._pods, clock, self._pressing)
        for resource in self._needed:
            informers.of(resource)
        self._pods.add_handler(self._on_pod)

    async def run(self) -> None:
        await self._informers.synced()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            await self._let_go()
            while True:
                groups = [group for group, _ in await self._groups()]
                if groups and (self._pressing() or any(group.size > group.minimum for group in groups)):
                    await self._wait(_LOOK)
                else:
                    await self._woken.wait()
                if self._woken.is_set():
                    await self._clock.sleep(_GATHER)
                    self._woken.clear()
                await self._grow()
                await self._shrink()

    def wake(self) -> None:
        """Groups may have changed."""
        self._woken.set()

    async def _wait(self, seconds: float) -> None:
        """Return when something happens, or after so many seconds of the clock."""
        sleep, woken = (asyncio.ensure_future(each) for each in (self._clock.sleep(seconds), self._woken.wait()))
        try:
            await asyncio.wait([sleep, woken], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            woken.cancel()

    def _on_pod(self, old: Pod | None, new: Pod | None) -> None:
        if new is not None and self._is_refused(new) and (old is None or not self._is_refused(old)):
            self._woken.set()

    def _is_refused(self, pod: Pod) -> bool:
        condition = pod.status.condition("PodScheduled")
        return (
            condition is not None and condition.status == "False" and condition.reason == "Unschedulable"
            and not pod.spec.node_name and not pod.deleted and not pod.finished
            and not pod.status.nominated_node_name and pod.spec.scheduler_name in self._profiles
        )  # fmt: skip

    def _pressing(self) -> bool:
        """Whether pods wait that found no place: no time to give up nodes."""
        return any(map(self._is_refused, self._pods.items()))

    async def _groups(self) -> list[tuple[NodeGroup, NodeProvider]]:
        found = []
        for provider in self._providers:
            try:
                found += [(group, provider) for group in await provider.groups()]
            except ProviderError as error:
                _log.warning("a provider does not say what it has", error=str(error))
        return found

    def _model(self, found: Mapping[ResourceType[Any], list[Any]]) -> models.Model:
        return models.build(lambda resource: found[resource], list(self._profiles.values()))

    def _snapshot(self) -> dict[ResourceType[Any], list[Any]]:
        return {resource: list(self._informers.of(resource).items()) for resource in self._needed}

    async def _grow(self) -> None:
        groups = await self._groups()
        waiting = [pod for pod in self._pods.items() if self._is_refused(pod) and not _is_of_daemon(pod)]
        if not groups or not waiting:
            return
        plan = await asyncio.to_thread(self._plan_growth, self._snapshot(), groups, waiting)
        for key, why in plan.helpless.items():
            self._tell(key, "NotTriggerScaleUp", f"pod didn't trigger scale-up: {why}")
        for group, provider in groups:
            count = plan.grow[group.name]
            if count:
                await self._add(group, provider, count, plan)

    def _plan_growth(
        self, found: dict[ResourceType[Any], list[Any]], groups: Sequence[tuple[NodeGroup, NodeProvider]],
        waiting: Sequence[Pod],
    ) -> Expansion:  # fmt: skip
        """In a thread: it may take long in a large cluster."""
        model, now = self._model(found), self._clock.monotonic()
        nodes = {node.metadata.name: node for node in found[NODES]}
        wanted = []
        for group, _ in groups:
            template = group.template or _template(group, nodes)
            failed = self._failures.get(group.name)
            blocked = failed is not None and failed.until > now
            if template is None:
                continue
            for name in group.members:
                if name in nodes and not _is_ready(nodes[name]):
                    # It comes up: whoever fits there only has to wait.
                    model.cluster.set_node(_as(template, name))
            for number in range(group.size - len(group.members) - _outside(group, nodes)):
                model.cluster.set_node(_as(template, f"{group.name}/coming-{number}"))
            wanted.append(Group(group.name, template, 0 if blocked else max(group.maximum - group.size, 0)))
        pods = [PodInfo(pod, model.kin.of) for pod in waiting]
        return expand(model.cluster, self._plugins, pods, wanted)

    def _plugins(self, info: PodInfo) -> Sequence[Plugin]:
        return self._profiles[info.pod.spec.scheduler_name].plugins

    async def _add(self, group: NodeGroup, provider: NodeProvider, count: int, plan: Expansion) -> None:
        span = f"{group.name} {group.size}->{group.size + count} (max: {group.maximum})"
        _log.info("adding nodes", group=group.name, count=count)
        for key, name in plan.helped.items():
            if name == group.name:
                self._tell(key, "TriggeredScaleUp", f"pod triggered scale-up: [{{{span}}}]")
        try:
            await provider.grow(group.name, count)
            await self._all_ready(group, provider)
        except ProviderError as error:
            failed = self._failures.setdefault(group.name, _Failures())
            delay = _RETRY.delay(failed.count)
            failed.count, failed.until = failed.count + 1, self._clock.monotonic() + delay
            _FAILED.inc(group.name)
            _log.warning("nodes were not added", group=group.name, error=str(error), again=round(delay, 1))
            for key, name in plan.helped.items():
                if name == group.name:
                    self._tell(key, "FailedScaleUp", f"no node was added to {group.name}: {error}", warning=True)
            await self._take_back(group, provider)
        else:
            self._failures.pop(group.name, None)
            _SCALED.inc("up", group.name, by=count)
        self._changed = self._clock.monotonic()

    async def _all_ready(self, group: NodeGroup, provider: NodeProvider) -> None:
        """Return once all members are Ready. Raises ProviderError when that takes too long."""
        deadline = self._clock.monotonic() + _READY_SECONDS
        while True:
            late = [name for name in await self._members(group, provider) if not self._ready(name)]
            if not late:
                return
            if self._clock.monotonic() > deadline:
                raise ProviderError(f"not Ready after {_READY_SECONDS:.0f} s: {', '.join(late)}")
            await self._clock.sleep(0.5)

    async def _members(self, group: NodeGroup, provider: NodeProvider) -> Sequence[str]:
        return next((each.members for each in await provider.groups() if each.name == group.name), ())

    def _ready(self, name: str) -> bool:
        node = self._nodes.get(name)
        return node is not None and _is_ready(node)

    async def _take_back(self, group: NodeGroup, provider: NodeProvider) -> None:
        """Remove what was half made."""
        try:
            for name in await self._members(group, provider):
                if name not in group.members and not self._ready(name):
                    await provider.remove(group.name, name)
        except ProviderError as error:
            _log.warning("a node that was half made is still there", group=group.name, error=str(error))

    async def _shrink(self) -> None:
        groups = [(group, provider) for group, provider in await self._groups() if group.size > group.minimum]
        now = self._clock.monotonic()
        if not groups or self._pressing() or now - self._changed < _CALM:
            self._idle.clear()
            return
        names = {name for group, _ in groups for name in group.members}
        idle = await asyncio.to_thread(self._plan_shrinking, self._snapshot(), names)
        self._idle = {name: self._idle.get(name, now) for name in idle}
        self._spared = {name: until for name, until in self._spared.items() if until > now}
        idle_for = self._options().unneeded
        due = [name for name, since in self._idle.items() if now - since >= idle_for and name not in self._spared]
        for group, provider in groups:
            name = next((each for each in due if each in group.members), None)
            if name is not None:
                await self._give_up(name, group, provider)
                return

    def _plan_shrinking(self, found: dict[ResourceType[Any], list[Any]], names: Collection[str]) -> list[str]:
        """In a thread: the nodes that can all go, for their pods find room on the others."""
        model = self._model(found)
        cluster = model.cluster
        share = used(cluster).max(axis=1) if len(cluster) else []
        few = {name for name in names if (row := cluster.row(name)) is not None and share[row] <= _USED}

        def movable(info: PodInfo) -> bool:
            ours = info.pod.spec.scheduler_name in self._profiles
            return ours and not immovable(info, follows_volumes=True)

        empty = [name for name in sorted(few) if _is_empty(cluster, name)]
        for name in empty:
            cluster.remove_node(name)
        return [*empty, *pack(Model(cluster, self._plugins, movable), len(model.pods), few).nodes]

    async def _give_up(self, name: str, group: NodeGroup, provider: NodeProvider) -> None:
        node = self._nodes.get(name)
        if node is None:
            return
        about = reference("v1", "Node", node.metadata)
        self._recorder.record(about, "ScaleDown", "node removed by cluster autoscaler")
        try:
            if await self._drain.run(node):
                _log.info("removing a node", node=name, group=group.name)
                await provider.remove(group.name, name)
                _SCALED.inc("down", group.name)
            else:
                self._spared[name] = self._clock.monotonic() + _SPARED
            self._idle.clear()
            self._changed = self._clock.monotonic()
        except (ProviderError, ApiError, Unreachable) as error:
            _log.warning("a node was not removed", node=name, error=str(error))
            self._recorder.record(about, "ScaleDownFailed", f"failed to remove the node: {error}", warning=True)
            self._spared[name] = self._clock.monotonic() + _SPARED
            if self._nodes.get(name) is not None:
                await self._drain.undo(node)

    async def _let_go(self) -> None:
        """Nodes that another run of this was about to remove stay, until they are found to be needless again."""
        for node in self._nodes.items():
            if any(taint.key == TAINT for taint in node.spec.taints):
                await self._drain.undo(node)

    def _tell(self, key: str, reason: str, message: str, *, warning: bool = False) -> None:
        pod = self._pods.get(key)
        if pod is not None:
            self._recorder.record(reference("v1", "Pod", pod.metadata), reason, message, warning=warning)


def _is_empty(cluster: Cluster, name: str) -> bool:
    row = cluster.row(name)
    return row is not None and all(map(stays, cluster.pods(row)))


def _is_ready(node: Node) -> bool:
    condition = node.condition("Ready")
    return condition is not None and condition.status == "True"


def _is_of_daemon(pod: Pod) -> bool:
    owner = pod.metadata.controller
    return owner is not None and owner.kind == "DaemonSet"


def _outside(group: NodeGroup, nodes: Mapping[str, Node]) -> int:
    """How many nodes of a group's size are there and no members, as the machine itself is in its own group."""
    return max(0, min(group.size - len(group.members), len(nodes.keys() - set(group.members))))


def _template(group: NodeGroup, nodes: Mapping[str, Node]) -> Node | None:
    """What a new node is taken to be like: a member that is Ready, or any node."""
    ready = [node for node in nodes.values() if _is_ready(node)]
    like = next((node for node in ready if node.metadata.name in group.members), None) or next(iter(ready), None)
    if like is None:
        return None
    labels = {k: v for k, v in like.metadata.labels.items() if not k.startswith(_NOT_A_TEMPLATES)}
    taints = [taint for taint in like.spec.taints if not taint.key.startswith("node.kubernetes.io/")]
    taints = [taint for taint in taints if taint.key != TAINT]
    spec = replace(like.spec, taints=taints, unschedulable=False)
    return replace(like, metadata=replace(like.metadata, labels=labels), spec=spec)


def _as(template: Node, name: str) -> Node:
    return replace(template, metadata=replace(template.metadata, name=name))
