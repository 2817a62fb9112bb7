"""Who owns whom, in as little memory as it takes.

A record is kept only for objects that have owners, or that are being deleted with one of the collector's finalizers.
Owners that were seen are remembered by uid for as long as they live, so each is asked for once, and those whose end
was seen for a while after it. Everything here is synchronous; `queue` is told each uid that needs a look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from tiphys.api.meta import Model, ObjectMeta, OwnerReference, Uid
from tiphys.api.resource import ResourceType

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_REMEMBERED_ABSENT = 1000


class Metadata(Model, frozen=True):
    """What the graph reads of any object; `ObjectMeta` has it all."""

    name: str = ""
    namespace: str = ""
    uid: Uid = Uid("")
    resource_version: str = ""
    deletion_timestamp: str | None = None
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class Partial(Model, frozen=True):
    metadata: Metadata = Metadata()


class Place(NamedTuple):
    """Where an object is served: what an owner reference names, besides the uid."""

    resource: ResourceType[Any]
    namespace: str
    name: str

    @property
    def kind(self) -> tuple[str, str]:
        return (self.resource.group, self.resource.plural)

    def same(self, other: Place) -> bool:
        return self.kind == other.kind and self[1:] == other[1:]


class Node(msgspec.Struct, frozen=True, gc=False):
    place: Place
    uid: Uid
    owners: Sequence[OwnerReference]
    deleting: bool
    orphan: bool
    foreground: bool

    def reference(self, owner: Uid) -> OwnerReference | None:
        return next((reference for reference in self.owners if reference.uid == owner), None)

    def blocks(self, owner: Uid) -> bool:
        reference = self.reference(owner)
        return reference is not None and bool(reference.block_owner_deletion)


class Graph:
    def __init__(self, queue: Callable[[Uid], None]) -> None:
        self.nodes: dict[Uid, Node] = {}
        self._queue = queue
        self._dependents: dict[Uid, set[Uid]] = {}
        self._present: dict[Uid, Place] = {}
        self._asked: set[Uid] = set()
        self._absent: dict[Uid, None] = {}

    def dependents(self, owner: Uid) -> list[Node]:
        return [self.nodes[uid] for uid in self._dependents.get(owner, ())]

    def observe(self, resource: ResourceType[Any], meta: Metadata | ObjectMeta) -> None:
        """An object as it is now."""
        old, new = self.nodes.get(meta.uid), _node(resource, meta)
        if new is None:
            if old is not None:
                self._forget(old)
            return
        self.nodes[meta.uid] = new
        self._index(old, new)
        if old is None or old.owners != new.owners:
            self._queue(new.uid)
        if old is not None:
            self._unblocked(old, new)
        if new.foreground and not (old is not None and old.foreground):
            self._queue(new.uid)
            for uid in self._dependents.get(new.uid, ()):
                self._queue(uid)
        elif new.orphan and not (old is not None and old.orphan):
            self._queue(new.uid)

    def remove(self, uid: Uid) -> None:
        """An object that is gone for good: a uid does not come back."""
        self._present.pop(uid, None)
        self._asked.discard(uid)
        node = self.nodes.get(uid)
        if node is not None:
            self._forget(node)
        dependents = self._dependents.get(uid)
        if dependents:
            self._absent[uid] = None
            if len(self._absent) > _REMEMBERED_ABSENT:
                del self._absent[next(iter(self._absent))]
            for dependent in dependents:
                self._queue(dependent)

    def retain(self, kind: tuple[str, str], uids: set[Uid]) -> None:
        """The whole of a resource, after a time in which changes may have been missed: what is not in it is gone."""
        gone = {uid for uid, node in self.nodes.items() if node.place.kind == kind and uid not in uids}
        gone |= {uid for uid, place in self._present.items() if place.kind == kind and uid not in uids}
        for uid in gone:
            self.remove(uid)

    def withdraw(self, kind: tuple[str, str]) -> None:
        """A resource is served no more. That says nothing of its objects, so their dependents stay."""
        for node in [node for node in self.nodes.values() if node.place.kind == kind]:
            self._forget(node)
        for uid in [uid for uid, place in self._present.items() if place.kind == kind]:
            del self._present[uid]
            for dependent in self._dependents.get(uid, ()):
                self._queue(dependent)

    def place_of(self, uid: Uid) -> Place | None:
        """Where an object that is known to exist is."""
        node = self.nodes.get(uid)
        return node.place if node is not None else self._present.get(uid)

    def absent(self, uid: Uid) -> bool:
        """Whether its end was seen."""
        return uid in self._absent

    def asking(self, uid: Uid) -> None:
        """The server is about to be asked for it; an end that is seen meanwhile beats the answer."""
        self._asked.add(uid)

    def answered(self, uid: Uid, place: Place | None) -> None:
        """The answer: where it is, or None for one that is not there."""
        if uid in self._asked:
            self._asked.discard(uid)
            if place is not None and uid in self._dependents:
                self._present[uid] = place

    def _forget(self, node: Node) -> None:
        del self.nodes[node.uid]
        self._index(node, None)
        self._unblocked(node, None)

    def _index(self, old: Node | None, new: Node | None) -> None:
        before = {reference.uid for reference in old.owners} if old is not None else set()
        after = {reference.uid for reference in new.owners} if new is not None else set()
        for owner in after - before:
            self._dependents.setdefault(owner, set()).add((new or old).uid)  # type: ignore[union-attr]
        for owner in before - after:
            held = self._dependents[owner]
            held.discard((old or new).uid)  # type: ignore[union-attr]
            if not held:
                del self._dependents[owner]
                self._present.pop(owner, None)

    def _unblocked(self, old: Node, new: Node | None) -> None:
        """Owners that were waiting for `old` may wait no longer."""
        for reference in old.owners:
            owner = self.nodes.get(reference.uid)
            if owner is not None and owner.foreground and not (new is not None and new.blocks(owner.uid)):
                self._queue(owner.uid)


def _node(resource: ResourceType[Any], meta: Metadata | ObjectMeta) -> Node | None:
    deleting = meta.deletion_timestamp is not None
    orphan, foreground = (deleting and name in meta.finalizers for name in (ORPHAN, FOREGROUND))
    if not (meta.owner_references or orphan or foreground):
        return None
    place = Place(resource, meta.namespace, meta.name)
    return Node(place, meta.uid, meta.owner_references, deleting, orphan, foreground)


def waiting(nodes: Iterable[Node], owner: Uid) -> list[Node]:
    """Those of an owner's dependents that its foreground deletion waits for."""
    return [node for node in nodes if node.blocks(owner)]
