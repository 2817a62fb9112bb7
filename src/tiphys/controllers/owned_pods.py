"""The pods of one kind of workload: whose they are, and making and deleting them with the events that tell of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

import msgspec

from tiphys.api.errors import ApiError, NotFound
from tiphys.api.meta import ObjectMeta, owner_reference
from tiphys.api.resource import Json, ResourceType
from tiphys.api.selectors import LabelSelector
from tiphys.client.events import reference
from tiphys.client.informer import Informer, meta_of
from tiphys.controllers.base import Context
from tiphys.controllers.ownership import (
    CONTROLLER,
    NAMESPACE,
    ORPHANS,
    add_indexes,
    by_namespace,
    carry_out,
    claim,
)
from tiphys.kinds.core.pod import PODS, Pod

R = TypeVar("R", bound=msgspec.Struct)


class OwnedPods(Generic[R]):
    """`selector` gives what an owner selects; with `member`, others than those that it is true of are left alone.

    Pods that are adopted get the `finalizer`.
    """

    def __init__(
        self, context: Context, resource: ResourceType[R], owners: Informer[R], selector: Callable[[R], LabelSelector],
        *, member: Callable[[R, Pod], bool] | None = None, finalizer: str = "",
    ) -> None:  # fmt: skip
        self._member, self._finalizer = member, finalizer
        self._context, self._resource, self._owners, self._selector = context, resource, owners, selector
        owners.add_index(NAMESPACE, by_namespace)
        self.informer = context.watch(PODS, self._keys_of)
        add_indexes(self.informer)
        self.client, self._owner_client = context.client.of(PODS), context.client.of(resource)

    async def of(self, owner: R) -> Sequence[Pod]:
        """What `owner` owns, after adopting what it selects and releasing what it no longer does."""
        meta, member = meta_of(owner), self._member
        owned, orphans = self.informer.by(CONTROLLER, meta.uid), self.informer.by(ORPHANS, meta.namespace)
        if member is not None:
            owned, orphans = ([pod for pod in pods if member(owner, pod)] for pods in (owned, orphans))
        claimed = claim(meta, self._selector(owner), owned, orphans)
        await carry_out(claimed, meta, self._owner_client, self.client)
        for pod in claimed.adopt if self._finalizer else ():
            try:
                patch = {"metadata": {"uid": pod.metadata.uid, "finalizers": [self._finalizer]}}
                await self.client.patch(pod.metadata, patch, kind="strategic")
            except NotFound:
                continue
        return claimed.owned

    def owner_reference(self, owner: ObjectMeta) -> Json:
        return owner_reference(self._resource.api_version, self._resource.kind, owner)

    def record(self, owner: ObjectMeta, reason: str, text: str, *, warning: bool = False) -> None:
        about = reference(self._resource.api_version, self._resource.kind, owner)
        self._context.recorder.record(about, reason, text, warning=warning)

    async def create(self, owner: ObjectMeta, pod: Json) -> Pod:
        """Raises ApiError, which an event has told of unless the namespace is going."""
        try:
            made: Pod = await self.client.create(pod)
        except ApiError as error:
            if not ending(error):
                self.record(owner, "FailedCreate", f"Error creating: {error.message}", warning=True)
            raise
        self.record(owner, "SuccessfulCreate", f"Created pod: {made.metadata.name}")
        return made

    async def delete(self, owner: ObjectMeta, pods: Iterable[Pod]) -> None:
        """All at once. Raises the first ApiError after an event told of it."""
        results = await asyncio.gather(*(self._delete(owner, pod) for pod in pods), return_exceptions=True)
        for result in results:
            if isinstance(result, ApiError):
                self.record(owner, "FailedDelete", f"Error deleting: {result.message}", warning=True)
            if isinstance(result, BaseException):
                raise result

    async def _delete(self, owner: ObjectMeta, pod: Pod) -> None:
        try:
            await self.client.delete(pod.metadata)
        except NotFound:
            return
        self.record(owner, "SuccessfulDelete", f"Deleted pod: {pod.metadata.name}")

    def _keys_of(self, pod: Pod) -> Iterable[str]:
        meta, owner = pod.metadata, pod.metadata.controller
        if owner is not None:
            if owner.kind == self._resource.kind and owner.api_version == self._resource.api_version:
                yield f"{meta.namespace}/{owner.name}"
        elif meta.deletion_timestamp is None:
            for candidate in self._owners.by(NAMESPACE, meta.namespace):
                if self._selector(candidate).matches(meta.labels):
                    yield meta_of(candidate).key


def ending(error: ApiError) -> bool:
    """Whether a creation was refused because the namespace is going, and its workloads with it."""
    return any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes)
