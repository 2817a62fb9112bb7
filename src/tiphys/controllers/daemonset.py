"""The DaemonSet controller: one pod on every node that fits.

`daemonset_plan.plan` decides everything from what the informers show; `reconcile` finds the revision of the present
template and carries the plan out. Source: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tiphys.api.errors import ApiError, NotFound
from tiphys.api.meta import Key, ObjectMeta
from tiphys.api.resource import Json
from tiphys.api.selectors import LabelSelector
from tiphys.base.backoff import Backoff
from tiphys.controllers.base import After, Context
from tiphys.controllers.controller_revisions import HASH, Revisions, template_of
from tiphys.controllers.daemonset_placement import bind, node_of
from tiphys.controllers.daemonset_plan import Plan, plan
from tiphys.controllers.owned_pods import OwnedPods, ending
from tiphys.controllers.ownership import selector_of
from tiphys.controllers.pods import pod_from
from tiphys.kinds.apps.controllerrevision import ControllerRevision
from tiphys.kinds.apps.daemonset import DAEMON_SETS, DaemonSet
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.core.pod import Pod

# Of a pod that fails again and again on one node; one that lasted long enough starts anew.
_BACKOFF = Backoff(1.0, 900.0, jitter=0.0)
_FORGET_SECONDS = 1800.0


class DaemonSetController:
    name = "daemon-set-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sets = context.watch(DAEMON_SETS)
        self._nodes = context.informers.of(NODES)
        self._nodes.add_handler(self._node_changed)
        self._pods = OwnedPods(context, DAEMON_SETS, self._sets, _selector)
        self._revisions = Revisions(context, DAEMON_SETS, _selector)
        self._client = context.client.of(DAEMON_SETS)
        # (DaemonSet, node) -> how often its pod ended there, and when the last was replaced.
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    async def reconcile(self, key: Key) -> After | None:
        owner = self._sets.get(key)
        if owner is None:
            self._revisions.forget(key)
            self._failures = {pair: held for pair, held in self._failures.items() if pair[0] != key}
            return None
        if owner.metadata.deletion_timestamp is not None:
            return None
        pods, held = await self._pods.of(owner), await self._revisions.of(owner)
        revision = await self._revisions.newest(owner, held)
        if revision is None:
            return None
        hash_ = revision.metadata.labels.get(HASH, "")
        planned = plan(owner, hash_, list(self._nodes.items()), pods, self._context.clock.time())
        wait = await self._carry_out(owner, revision, planned)
        names = [f"{owner.metadata.name}-{pod.metadata.labels.get(HASH)}" for pod in pods]
        await self._revisions.truncate(held, [*names, revision.metadata.name], owner.spec.revision_history_limit)
        waits = [seconds for seconds in (planned.again, wait) if seconds is not None]
        return After(min(waits)) if waits else None

    async def _carry_out(self, owner: DaemonSet, revision: ControllerRevision, planned: Plan) -> float | None:
        """Seconds until a pod that ended may be replaced. The status is written also where a pod was refused."""
        meta = owner.metadata
        due, wait = self._due(meta, planned.ended)
        failure: ApiError | None = None
        try:
            await self._pods.delete(meta, [*planned.delete, *due])
            await self._create(owner, template_of(revision), revision.metadata.labels.get(HASH, ""), planned.create)
        except ApiError as error:
            failure = error
        if planned.status:
            try:
                patch = {"metadata": {"uid": meta.uid}, "status": planned.status}
                await self._client.patch(meta, patch, subresource="status")
            except NotFound:
                return None
        if failure is not None:
            raise failure
        return wait

    async def _create(self, owner: DaemonSet, template: Json, hash_: str, nodes: Sequence[str]) -> None:
        meta = owner.metadata
        pod = pod_from(template, meta, self._pods.owner_reference(meta))
        pod["metadata"]["labels"] = {**pod["metadata"].get("labels", {}), HASH: hash_}
        left, size = list(nodes), 1
        # In growing batches, so that a server which refuses everything is asked once.
        while left:
            batch, left = left[:size], left[size:]
            made = [{**pod, "spec": bind(pod["spec"], owner.spec.template.spec, node)} for node in batch]
            results = await asyncio.gather(*(self._pods.create(meta, each) for each in made), return_exceptions=True)
            for result in results:
                if isinstance(result, ApiError) and ending(result):
                    return
                if isinstance(result, BaseException):
                    raise result
            size *= 2

    def _due(self, owner: ObjectMeta, ended: Sequence[Pod]) -> tuple[list[Pod], float | None]:
        """Of the pods that ended those to replace now, and the seconds until the next of the others may be."""
        now, due, waits = self._context.clock.time(), [], []
        for pod in ended:
            pair = (str(owner.key), node_of(pod))
            count, last = self._failures.get(pair, (0, 0.0))
            if now - last > _FORGET_SECONDS:
                count = 0
            left = last + _BACKOFF.delay(count - 1) - now if count else 0.0
            if left > 0:
                waits.append(left)
                continue
            self._failures[pair] = (count + 1, now)
            due.append(pod)
            reason = "FailedDaemonPod" if pod.status.phase == "Failed" else "SucceededDaemonPod"
            what = "failed" if pod.status.phase == "Failed" else "succeeded"
            text = f"Found {what} daemon pod {pod.metadata.namespace}/{pod.metadata.name} on node {pair[1]}"
            self._pods.record(owner, reason, f"{text}, will try to {_NEXT[what]} it", warning=what == "failed")
        return due, min(waits) if waits else None

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        """Nodes tell of themselves all the time; it matters what they are called, labelled and tainted."""
        if old is not None and new is not None and _where(old) == _where(new):
            return
        for owner in self._sets.items():
            self._context.queue.add(owner.metadata.key)


_NEXT = {"failed": "kill", "succeeded": "delete"}


def _selector(owner: DaemonSet) -> LabelSelector:
    return selector_of(owner.spec.selector)


def _where(node: Node) -> object:
    return node.metadata.labels, [(taint.key, taint.value, taint.effect) for taint in node.spec.taints]
