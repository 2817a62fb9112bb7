"""What `tiphys rebalance` reads of the cluster, and how it moves a pod: evict, then wait for the one that comes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from tiphys.cli.errors import CliError, ServerError
from tiphys.cli.transport import Transport
from tiphys.client.client import Listed
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.main.model import read
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.movable import immovable, unhealthy
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.preemption import Preemption
from tiphys.scheduler.profile import Profile
from tiphys.scheduler.rebalance import Model, Move

_VOLUMES = "VolumeBinding"
_MERGE = "application/merge-patch+json"


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Reading:
    """Reads the cluster anew for each plan: it changes while pods are moved."""

    def __init__(
        self, transport: Transport, profiles: Mapping[str, Profile], namespace: str, margin: float
    ) -> None:  # fmt: skip
        """With a `namespace` only its pods may be moved."""
        self._transport, self._profiles = transport, profiles
        self._namespace, self._margin = namespace, margin
        self._left: set[str] = set()

    def leave(self, info: PodInfo) -> None:
        """Move no more pods of the controller of this one."""
        self._left.add(owner_of(info.pod))

    def model(self) -> Model:
        found = read(self._transport, list(self._profiles.values()))
        busy = unhealthy(PodInfo(pod) for pod in found.pods) | self._left
        volumes = {
            name: any(each.name == _VOLUMES for each in profile.plugins) for name, profile in self._profiles.items()
        }

        def movable(info: PodInfo) -> bool:
            pod = info.pod
            ours = pod.spec.scheduler_name in self._profiles and self._namespace in ("", pod.metadata.namespace)
            if not ours or owner_of(pod) in busy:
                return False
            if immovable(info, follows_volumes=volumes[pod.spec.scheduler_name]):
                return False
            return _spared(info, found.cluster, found.preemption)

        def plugins(info: PodInfo) -> tuple[Plugin, ...]:
            return self._profiles[info.pod.spec.scheduler_name].plugins

        return Model(found.cluster, plugins, movable, self._margin)


def _spared(info: PodInfo, cluster: Cluster, preemption: Preemption) -> bool:
    """Whether the pod's budget can spare it. Of two budgets for one pod the API takes no eviction."""
    budgets = preemption.protecting(info, cluster)
    return len(budgets) < 2 and all(budget.allowed > 0 for budget in budgets)


def owner_of(pod: Pod) -> str:
    """The UID of a pod's controller, empty without one."""
    owner = pod.metadata.controller
    return str(owner.uid) if owner is not None else ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`moved` tells that the pod is gone and another Ready, `away` that this one is on another node."""

    words: str
    moved: bool
    away: bool


class Mover:
    """Moves one pod after the other. `timeout` is how many seconds the new pod may take."""

    def __init__(self, transport: Transport, timeout: float) -> None:
        self._transport, self._timeout = transport, timeout

    def move(self, move: Move) -> Outcome:
        """Raises CliError if the pod that comes instead is not Ready in time."""
        pod = move.info.pod
        version, before = self._siblings(pod)
        started = time.monotonic()
        try:
            self._evict(pod)
        except ServerError as error:
            if error.code == 429:
                return Outcome(f"stays: {error.message}", False, False)
            if error.code != 404:
                raise
        new = self._wait(pod, version, before)
        took = f"{time.monotonic() - started:.1f} s"
        where = new.spec.node_name
        words = f"{new.metadata.name} is Ready on {where} ({took})"
        return Outcome(words, True, where != move.source)

    def cordon(self, node: str, unschedulable: bool) -> None:
        body = {"spec": {"unschedulable": unschedulable or None}}
        self._transport.call("PATCH", NODES.path(node), body=body, content_type=_MERGE)

    def _evict(self, pod: Pod) -> None:
        meta = {"name": pod.metadata.name, "namespace": pod.metadata.namespace}
        options = {"preconditions": {"uid": pod.metadata.uid}}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta, "deleteOptions": options}
        path = PODS.path(pod.metadata.name, pod.metadata.namespace)
        self._transport.call("POST", f"{path}/eviction", body=body)

    def _siblings(self, pod: Pod) -> tuple[str, dict[str, Pod]]:
        """The pods of the same controller by UID, and the version of the list."""
        data = self._transport.call("GET", PODS.path(namespace=pod.metadata.namespace))
        listed = msgspec.json.decode(data, type=Listed[Pod])
        mine = {str(each.metadata.uid): each for each in listed.items if owner_of(each) == owner_of(pod)}
        return listed.metadata.resource_version, mine

    def _wait(self, pod: Pod, version: str, before: Mapping[str, Pod]) -> Pod:
        """The new pod, once it is Ready and the old one is gone."""
        now, gone = dict(before), str(pod.metadata.uid)
        for event in self._watch(pod.metadata.namespace, version):
            changed = msgspec.json.decode(event.object, type=Pod)
            if owner_of(changed) != owner_of(pod):
                continue
            uid = str(changed.metadata.uid)
            if event.type == "DELETED":
                now.pop(uid, None)
            else:
                now[uid] = changed
            new = [each for uid, each in now.items() if uid not in before and each.ready and not each.deleted]
            if gone not in now and new:
                return new[0]
        raise CliError(
            f"no pod became Ready in the place of {pod.metadata.key} in {self._timeout:g} s; nothing else is moved. "
            f"`tiphys get pods -n {pod.metadata.namespace}` shows what came instead"
        )

    def _watch(self, namespace: str, version: str) -> Iterator[_Event]:
        query: dict[str, str | int | bool | list[str] | None] = {
            "watch": True,
            "resourceVersion": version,
            "timeoutSeconds": max(1, round(self._timeout)),
        }
        for line in self._transport.lines(PODS.path(namespace=namespace), query=query):
            event = msgspec.json.decode(line, type=_Event)
            if event.type == "ERROR":
                raise CliError(f"pods of {namespace} cannot be watched any more: {bytes(event.object).decode()}")
            if event.type != "BOOKMARK":
                yield event
