"""The ConfigMaps, Secrets, claims and volumes that pods on this node use: one watch for each, while a pod names it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.base.clock import Clock
from tiphys.base.tasks import Supervisor
from tiphys.client.checkpoint import Checkpoint
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.kinds.core.configmap import CONFIG_MAPS, ConfigMap
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.secret import SECRETS, Secret
from tiphys.kubelet.environment import Lookup
from tiphys.kubelet.volumes.payload import references

_RESOURCES = {
    "configmap": CONFIG_MAPS, "secret": SECRETS, "persistentvolumeclaim": PERSISTENT_VOLUME_CLAIMS,
    "persistentvolume": PERSISTENT_VOLUMES,
}  # fmt: skip
Reference = tuple[str, str, str]


@dataclass(slots=True)
class _Watched:
    informer: Informer[Any]
    task: asyncio.Task[None]
    users: set[str] = field(default_factory=set)


class Objects:
    """`changed(uid)` is called for each pod that uses an object which changed."""

    def __init__(
        self, client: Client, supervisor: Supervisor, clock: Clock, changed: Callable[[str], None], *,
        checkpoint: Checkpoint | None = None,
    ) -> None:  # fmt: skip
        self._client, self._supervisor, self._clock, self._changed = client, supervisor, clock, changed
        self._checkpoint = checkpoint
        self._watched: dict[Reference, _Watched] = {}

    async def acquire(self, pod: Pod) -> None:
        """Watch all that the pod names, and wait until their present state is here."""
        uid, namespace = pod.metadata.uid, pod.metadata.namespace
        wanted = [self._watch((kind, namespace, name)) for kind, name in sorted(references(pod))]
        for watched in wanted:
            watched.users.add(uid)
        for watched in wanted:
            await watched.informer.synced.wait()

    async def acquire_one(self, uid: str, reference: Reference) -> Any | None:
        """Watch one more object for a pod; its present state."""
        watched = self._watch(reference)
        watched.users.add(uid)
        await watched.informer.synced.wait()
        return self.get(reference)

    def get(self, reference: Reference) -> Any | None:
        """An object that is watched, if it is there; the reference is (kind, namespace, name)."""
        watched = self._watched.get(reference)
        _, namespace, name = reference
        return watched.informer.get(f"{namespace}/{name}" if namespace else name) if watched is not None else None

    def _watch(self, reference: Reference) -> _Watched:
        if reference in self._watched:
            return self._watched[reference]
        kind, namespace, name = reference
        informer: Informer[Any] = Informer(
            self._client, _RESOURCES[kind], namespace=namespace, clock=self._clock,
            checkpoint=self._checkpoint, fieldSelector=f"metadata.name={name}",
        )  # fmt: skip
        task = self._supervisor.start(f"{kind} {namespace}/{name}", informer.run)
        watched = self._watched[reference] = _Watched(informer, task)

        def tell(old: Any, new: Any) -> None:
            if informer.synced.is_set():
                for uid in list(watched.users):
                    self._changed(uid)

        informer.add_handler(tell)
        return watched

    def release(self, uid: str) -> None:
        """The pod is gone: end the watches that nobody else needs."""
        for reference, watched in list(self._watched.items()):
            watched.users.discard(uid)
            if not watched.users:
                watched.task.cancel()
                watched.informer.forget()
                del self._watched[reference]

    def lookup(self, namespace: str) -> Lookup:
        def look(kind: str, name: str) -> Mapping[str, bytes] | None:
            found = self.get((kind, namespace, name))
            if isinstance(found, ConfigMap):
                return {**{key: value.encode() for key, value in found.data.items()}, **found.binary_data}
            return found.data if isinstance(found, Secret) else None

        return look
