"""A namespace that is deleted takes all its content along, custom resources included, before it goes itself.

What is in it is learnt from discovery. Pods go first and have their grace: what they work with, such as policies that
guard them, stays until the last is gone. Conditions of the namespace say what it waits for.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/ and https://kep.k8s.io/5080
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tiphys.api.errors import ApiError, Conflict, MethodNotAllowed, NotFound
from tiphys.api.meta import Key
from tiphys.api.resource import Json, ResourceType
from tiphys.api.time import rfc3339
from tiphys.client.client import Client
from tiphys.client.discovery import discover
from tiphys.client.informer import meta_of
from tiphys.controllers.base import After, Context
from tiphys.controllers.conditions import condition, with_condition
from tiphys.kinds.core.namespace import NAMESPACES, Namespace
from tiphys.kinds.core.pod import PODS, Pod

FINALIZER = "kubernetes"
# Something holds the content that tells us nothing when it lets go, such as a finalizer; look again after this.
_AGAIN = 5.0
_AT_ONCE = 8


@dataclass(slots=True)
class Remains:
    """What one pass over a namespace left: objects by resource, objects by finalizer, and what could not be done."""

    objects: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    undiscovered: str = ""

    @property
    def nothing(self) -> bool:
        return not (self.objects or self.failures or self.undiscovered)


def conditions(remains: Remains) -> Iterable[tuple[str, str, str, str]]:
    """(type, status, reason, message) of each condition after a pass."""
    if remains.undiscovered:
        yield "NamespaceDeletionDiscoveryFailure", "True", "DiscoveryFailed", remains.undiscovered
    else:
        text = "All resources successfully discovered"
        yield "NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", text
    text = "All legacy kube types successfully parsed"
    yield "NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions", text
    if remains.failures:
        left = "; ".join(remains.failures)
        text = f"Failed to delete all resource types, {len(remains.failures)} remaining: {left}"
        yield "NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", text
    else:
        text = "All content successfully deleted, may be waiting on finalization"
        yield "NamespaceDeletionContentFailure", "False", "ContentDeleted", text
    if remains.objects:
        held = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(remains.objects.items()))
        yield "NamespaceContentRemaining", "True", "SomeResourcesRemain", f"Some resources are remaining: {held}"
    else:
        yield "NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"
    if remains.finalizers:
        held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(remains.finalizers.items()))
        text = f"Some content in the namespace has finalizers remaining: {held}"
        yield "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", text
    else:
        text = "All content-preserving finalizers finished"
        yield "NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", text


def plan(namespace: Namespace, remains: Remains, now: float) -> list[Json] | None:
    """The conditions after a pass, or None if they stand already. Of what never went wrong nothing is said."""
    before: list[Json] = msgspec.to_builtins(namespace.status.conditions)
    after = before
    for type_, status, reason, message in conditions(remains):
        held = condition(after, type_)
        if held is not None and (held["status"], held.get("message")) == (status, message):
            continue
        stamp = rfc3339(now)
        new = {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": stamp}
        after = with_condition(after, new)
    return after if after != before else None


class NamespaceController:
    name = "namespace-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._namespaces = context.watch(NAMESPACES)
        self._pods = context.informers.of(PODS)
        self._pods.add_handler(self._pod_changed)
        self._client = context.client.of(NAMESPACES)

    async def reconcile(self, key: Key) -> After | None:
        namespace = self._namespaces.get(key)
        if namespace is None or not namespace.terminating or FINALIZER not in namespace.spec.finalizers:
            return None
        remains = await empty(self._context.client, namespace.metadata.name)
        wanted = plan(namespace, remains, self._context.clock.time())
        try:
            # A namespace without anything to wait for need not say so on its way out.
            if wanted is not None and not remains.nothing:
                await self._client.patch(namespace.metadata, {"status": {"conditions": wanted}}, subresource="status")
            if remains.nothing:
                await self._finalize(namespace)
                return None
        except NotFound:
            return None
        return After(_AGAIN)

    async def _finalize(self, namespace: Namespace) -> None:
        whole = await self._client.get_json(namespace.metadata.name)
        if whole["metadata"]["uid"] != namespace.metadata.uid:
            return
        spec = whole.setdefault("spec", {})
        spec["finalizers"] = [name for name in spec.get("finalizers") or () if name != FINALIZER]
        await self._client.update(whole, subresource="finalize")

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """The last pod to go is what a namespace mostly waits for."""
        if new is None and old is not None:
            namespace = self._namespaces.get(old.metadata.namespace)
            if namespace is not None and namespace.terminating:
                self._context.queue.add(old.metadata.namespace)


async def empty(client: Client, namespace: str) -> Remains:
    """Ask for the deletion of what is in `namespace`, pods before the rest; what is still there then."""
    remains = Remains()
    await _empty(client, PODS, namespace, remains)
    if not remains.nothing:
        return remains
    try:
        resources = await discover(client.transport)
    except ApiError as error:
        remains.undiscovered = f"Discovery failed for some groups: {error.message}"
        return remains
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(resource: ResourceType[Any]) -> None:
        async with gate:
            await _empty(client, resource, namespace, remains)

    async with asyncio.TaskGroup() as tasks:
        for resource in resources:
            if resource.namespaced and "delete" in resource.verbs and "list" in resource.verbs:
                tasks.create_task(one(resource))
    return remains


async def _empty(client: Client, resource: ResourceType[Any], namespace: str, remains: Remains) -> None:
    metadata = client.metadata_of(resource)
    try:
        found, _ = await metadata.list(namespace)
        if not found:
            return
        await _delete(client, resource, namespace, found)
        found, _ = await metadata.list(namespace)
    except (NotFound, MethodNotAllowed):
        # The resource itself went, or cannot be emptied.
        return
    except ApiError as error:
        remains.failures.append(f"{resource.group_resource}: {error.message}")
        return
    for obj in found:
        remains.objects[f"{resource.plural}.{resource.group}"] += 1
        remains.finalizers.update(meta_of(obj).finalizers)


async def _delete(client: Client, resource: ResourceType[Any], namespace: str, found: Sequence[Any]) -> None:
    if "deletecollection" in resource.verbs:
        await client.metadata_of(resource).delete_collection(namespace, propagation="Background")
        return
    for obj in found:
        try:
            await client.of(resource).delete(meta_of(obj), propagation="Background")
        except (NotFound, Conflict):
            continue
