"""The garbage collector: what becomes of dependents when their owner goes.

Background: an object none of whose owners exist is deleted; references to absent owners are removed from one that has
others. Foreground: an owner with the finalizer `foregroundDeletion` waits for the dependents that block it. Orphan: an
owner with the finalizer `orphan` is removed from its dependents' references first. An owner counts as absent when its
end was seen, or when the server, asked for it by name, has none of that uid. Keys are uids.
Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key, ObjectMeta, OwnerReference, Uid
from tiphys.api.resource import Json, ResourceType
from tiphys.client.client import ResourceClient
from tiphys.client.events import reference as event_reference
from tiphys.controllers.base import After, Context, Terminal
from tiphys.controllers.garbage_graph import FOREGROUND, ORPHAN, Graph, Node, Partial, Place, waiting
from tiphys.controllers.garbage_monitors import Monitors


class Owner(Enum):
    SOLID = "solid"
    ABSENT = "absent"
    # It is there, but only until its dependents are gone.
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Plan:
    """`drop` are owners to take out of the references; `delete` is the propagation policy, empty to keep the object."""

    drop: frozenset[Uid] = frozenset()
    delete: str = ""
    # Its dependents wait for their own dependents in turn: stop blocking, or a circle would wait for ever.
    unblock: bool = False


def plan(owners: Mapping[Uid, Owner], finalizers: Sequence[str], dependents: Sequence[Node]) -> Plan:
    """What to do with an object that is not being deleted, by what has become of its owners."""
    if not owners:
        return Plan()
    if Owner.SOLID in owners.values():
        return Plan(drop=frozenset(uid for uid, owner in owners.items() if owner is not Owner.SOLID))
    if Owner.WAITING in owners.values() and dependents:
        return Plan(delete="Foreground", unblock=any(node.foreground for node in dependents))
    policy = "Orphan" if ORPHAN in finalizers else "Foreground" if FOREGROUND in finalizers else "Background"
    return Plan(delete=policy)


class GarbageCollector:
    name = "generic-garbage-collector"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._context = context
        self._graph = Graph(context.queue.add)
        self._unserved: set[Uid] = set()
        self._monitors = Monitors(context, self._graph, self._discovered)

    async def run(self) -> None:
        await self._monitors.run()

    def _discovered(self) -> None:
        """What waits for its owner's kind to be served may find it served now."""
        waiting_for, self._unserved = self._unserved, set()
        for uid in waiting_for:
            self._context.queue.add(uid)

    async def reconcile(self, key: Key) -> After | None:
        await self._monitors.ready()
        node = self._graph.nodes.get(Uid(key))
        if node is None:
            return None
        if node.orphan:
            await self._orphan(node)
        elif node.foreground:
            await self._foreground(node)
        elif not node.deleting:
            await self._collect(node)
        return None

    async def _collect(self, node: Node) -> None:
        owners: dict[Uid, Owner] = {}
        for reference in node.owners:
            owner = await self._owner(node, reference)
            if owner is None:
                self._unserved.add(node.uid)
                return
            owners[reference.uid] = owner
        if all(owner is Owner.SOLID for owner in owners.values()):
            return
        live = await self._live(node)
        if live is None or live.metadata.owner_references != list(node.owners) or live.metadata.deletion_timestamp:
            # The graph is about to learn of the change, and then there is another look.
            return
        decided = plan(owners, live.metadata.finalizers, self._graph.dependents(node.uid))
        if decided.drop:
            await self._release(node, lambda reference: reference["uid"] not in decided.drop)
        if decided.unblock:
            await self._unblock(node)
        if decided.delete:
            await self._delete(node, live, decided)

    async def _owner(self, node: Node, reference: OwnerReference) -> Owner | None:
        """What has become of an owner; None while its kind is not served, which says nothing about it."""
        resource = self._monitors.resource_of(reference)
        if resource is None:
            return Owner.ABSENT if self._graph.absent(reference.uid) else None
        if resource.namespaced and not node.place.namespace:
            self._warn(node, f"namespaced owner {reference.kind} {reference.name} of a cluster-scoped object")
            raise Terminal(
                f"{node.place.resource.kind} {node.place.name} has no namespace, but its owner {reference.kind} "
                f"{reference.name} has one: remove the reference"
            )
        if self._graph.absent(reference.uid):
            return Owner.ABSENT
        place = Place(resource, node.place.namespace if resource.namespaced else "", reference.name)
        known = self._graph.place_of(reference.uid)
        if known is None or not known.same(place):
            return await self._ask(node, reference, place, known)
        owner = self._graph.nodes.get(reference.uid)
        return Owner.WAITING if owner is not None and owner.foreground else Owner.SOLID

    async def _ask(self, node: Node, reference: OwnerReference, place: Place, known: Place | None) -> Owner:
        self._graph.asking(reference.uid)
        found: Partial | None = None
        try:
            found = await self._client(place.resource).get(place.name, place.namespace)
        except NotFound:
            found = None
        if found is None or found.metadata.uid != reference.uid:
            self._graph.answered(reference.uid, None)
            if known is not None and known.namespace != place.namespace:
                self._warn(node, f"ownerRef {_text(reference)} does not exist in namespace {place.namespace!r}")
            return Owner.ABSENT
        self._graph.answered(reference.uid, place)
        meta = found.metadata
        return Owner.WAITING if meta.deletion_timestamp and FOREGROUND in meta.finalizers else Owner.SOLID

    async def _foreground(self, node: Node) -> None:
        """Let the owner go once nothing that blocks it is left; until then have the dependents looked at."""
        left = waiting(self._graph.dependents(node.uid), node.uid)
        if not left:
            await self._drop_finalizer(node, FOREGROUND)
            return
        for dependent in left:
            if not dependent.deleting:
                self._context.queue.add(dependent.uid)

    async def _orphan(self, node: Node) -> None:
        for dependent in self._graph.dependents(node.uid):
            await self._release(dependent, lambda reference: reference["uid"] != node.uid)
        await self._drop_finalizer(node, ORPHAN)

    async def _delete(self, node: Node, live: Partial, decided: Plan) -> None:
        meta = _meta(node, live.metadata.resource_version if not decided.unblock else "")
        try:
            await self._client(node.place.resource).delete(meta, unchanged=True, propagation=decided.delete)
        except NotFound:
            return

    async def _unblock(self, node: Node) -> None:
        def unblocked(references: list[Json]) -> list[Json]:
            return [{**reference, "blockOwnerDeletion": False} for reference in references]

        await self._change(node, "ownerReferences", unblocked)

    async def _release(self, node: Node, keeps: Any) -> None:
        def kept(references: list[Json]) -> list[Json]:
            return [reference for reference in references if keeps(reference)]

        await self._change(node, "ownerReferences", kept)

    async def _drop_finalizer(self, node: Node, finalizer: str) -> None:
        def kept(finalizers: list[str]) -> list[str]:
            return [each for each in finalizers if each != finalizer]

        await self._change(node, "finalizers", kept)

    async def _change(self, node: Node, field: str, change: Any) -> None:
        """Replace a list of an object's metadata, if it still is the same object."""
        client, place = self._client(node.place.resource), node.place
        try:
            found = (await client.get_json(place.name, place.namespace))["metadata"]
            before = found.get(field) or []
            after = change(before)
            if found["uid"] != node.uid or after == before:
                return
            patch = {"metadata": {"uid": node.uid, "resourceVersion": found["resourceVersion"], field: after or None}}
            await client.patch(_meta(node), patch)
        except NotFound:
            return

    async def _live(self, node: Node) -> Partial | None:
        try:
            found = await self._client(node.place.resource).get(node.place.name, node.place.namespace)
        except NotFound:
            return None
        return found if found.metadata.uid == node.uid else None

    def _client(self, resource: ResourceType[Any]) -> ResourceClient[Partial]:
        return self._context.client.of(resource)

    def _warn(self, node: Node, message: str) -> None:
        resource = node.place.resource
        about = event_reference(resource.api_version, resource.kind, _meta(node))
        self._context.recorder.record(about, "OwnerRefInvalidNamespace", message, warning=True)


def _meta(node: Node, resource_version: str = "") -> ObjectMeta:
    place = node.place
    return ObjectMeta(name=place.name, namespace=place.namespace, uid=node.uid, resource_version=resource_version)


def _text(reference: OwnerReference) -> str:
    return f"[{reference.api_version}/{reference.kind}, name: {reference.name}, uid: {reference.uid}]"
