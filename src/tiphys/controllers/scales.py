"""Whatever has a scale subresource: what autoscalers scale, and whose pods disruption budgets count.

The workloads of Kubernetes itself are read from the informers that their own controllers keep; of any other kind the
server is asked, and told of, by its scale subresource. Sizes are always written by the scale subresource.
Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/scale-v1/
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tiphys.api import errors
from tiphys.api.meta import ObjectMeta
from tiphys.api.resource import Json, ResourceType
from tiphys.api.selectors import NOTHING, LabelSelector, of_labels, parse_labels
from tiphys.client.discovery import discover
from tiphys.controllers.base import Context
from tiphys.controllers.ownership import selector_of
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.apps.replicaset import REPLICA_SETS
from tiphys.kinds.apps.statefulset import STATEFUL_SETS
from tiphys.kinds.autoscaling.horizontalpodautoscaler import ScaleTarget
from tiphys.kinds.core.replicationcontroller import REPLICATION_CONTROLLERS

# A kind that is not known may be so after this many seconds.
_REDISCOVER = 10.0
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Scale:
    """`wanted` replicas by its spec, `running` by its status, whose pods `selector` selects."""

    wanted: int
    running: int
    selector: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    resource: ResourceType[Any]
    meta: ObjectMeta
    scale: Scale
    selector: LabelSelector


class Scales:
    def __init__(self, context: Context) -> None:
        self._context = context
        built_in: tuple[ResourceType[Any], ...] = (
            DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, REPLICATION_CONTROLLERS,
        )  # fmt: skip
        self._informers = {(each.group, each.kind): context.informers.of(each) for each in built_in}
        # Selectors of workloads by uid, with what they were made of.
        self._selectors: dict[str, tuple[Any, LabelSelector, str]] = {}
        self._kinds: dict[tuple[str, str], ResourceType[Any]] = {}
        self._discovered = -math.inf

    async def get(self, reference: ScaleTarget, namespace: str) -> Target:
        """Raises ApiError, Unreachable, and ValueError for a selector that is none."""
        group, _, version = reference.api_version.rpartition("/")
        if "/" in group or (reference.api_version and not version):
            raise errors.BadRequest(f"unexpected GroupVersion string: {reference.api_version}")
        informer = self._informers.get((group, reference.kind))
        if informer is None:
            return await self._asked(await self.resource(group, reference.kind), reference.name, namespace)
        found: Any = informer.get(f"{namespace}/{reference.name}")
        if found is None:
            raise errors.no_such(group, informer.resource.plural, reference.name)
        selector, text = self._selector(found)
        scale = Scale(found.spec.replicas, found.status.replicas, text)
        return Target(informer.resource, found.metadata, scale, selector)

    async def resource(self, group: str, kind: str) -> ResourceType[Any]:
        """The resource of a kind, as the server tells. Raises ApiError, Unreachable."""
        known = self._kinds.get((group, kind))
        now = self._context.clock.monotonic()
        if known is None and now - self._discovered >= _REDISCOVER:
            self._discovered = now
            for each in await discover(self._context.client.transport):
                self._kinds.setdefault((each.group, each.kind), each)
            known = self._kinds.get((group, kind))
        if known is None:
            raise errors.NotFound(f'no matches for kind "{kind}" in group "{group}"')
        return known

    async def put(self, target: Target, replicas: int) -> None:
        """Unless the target has changed since it was read. Raises ApiError, Unreachable."""
        meta = target.meta
        scale: Json = {
            "apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": replicas},
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid,
                         "resourceVersion": meta.resource_version},
        }  # fmt: skip
        await self._context.client.of(target.resource).update_json(scale, subresource="scale")

    async def _asked(self, resource: ResourceType[Any], name: str, namespace: str) -> Target:
        try:
            found = await self._context.client.of(resource).get_json(name, namespace, subresource="scale")
        except errors.NotFound:
            # Perhaps the kind is served in another version by now.
            self._kinds.pop((resource.group, resource.kind), None)
            raise
        meta, status = found["metadata"], found.get("status") or {}
        text = status.get("selector") or ""
        scale = Scale((found.get("spec") or {}).get("replicas") or 0, status.get("replicas") or 0, text)
        kept = ObjectMeta(meta["name"], meta.get("namespace", ""), meta["uid"], meta["resourceVersion"])
        return Target(resource, kept, scale, parse_labels(text) if text else NOTHING)

    def _selector(self, workload: Any) -> tuple[LabelSelector, str]:
        uid, given = workload.metadata.uid, workload.spec.selector
        known = self._selectors.get(uid)
        if known is None or known[0] != given:
            if len(self._selectors) >= _REMEMBERED:
                # Workloads that are gone are among them; those that are not are made anew.
                self._selectors.clear()
            made = of_labels(given) if isinstance(given, dict) else selector_of(given)
            known = self._selectors[uid] = (given, made, str(made))
        return known[1], known[2]
