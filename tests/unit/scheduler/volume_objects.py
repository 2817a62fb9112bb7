"""Claims, volumes and classes for the scheduler's tests, and the binder that they wait for, played by the test."""

from __future__ import annotations

from typing import Any

from scheduled import Scheduled
from scheduler_objects import Json, container

from tiphys.api.meta import ObjectMeta
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from tiphys.kinds.core.volume_binding import BIND_COMPLETED, SELECTED_NODE
from tiphys.kinds.storage.storageclass import STORAGE_CLASSES

_SIZE = "1Gi"


def claim_json(name: str, size: str = _SIZE, **spec: Any) -> Json:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": "late"}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {**body, **spec}}


def volume_json(name: str, size: str = _SIZE, node: str = "", **spec: Any) -> Json:
    """Of the class `late`; with a `node`, only that one has it."""
    body = {
        "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
        "storageClassName": "late", **spec,
    }  # fmt: skip
    if node:
        here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
        body["nodeAffinity"] = {"required": {"nodeSelectorTerms": [here]}}
    return {"metadata": {"name": name}, "spec": body}


def using(*claims: str) -> Json:
    """The spec of a pod with these claims."""
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    return {"containers": [container()], "volumes": volumes}


class Storage:
    def __init__(self, scheduled: Scheduled) -> None:
        self._scheduled = scheduled
        client = scheduled.client
        self._claims, self._volumes = client.of(PERSISTENT_VOLUME_CLAIMS), client.of(PERSISTENT_VOLUMES)

    async def node(self, name: str, **more: Any) -> None:
        await self._scheduled.node(name, labels={"kubernetes.io/hostname": name, **more.pop("labels", {})}, **more)

    async def add_class(self, name: str = "late", provisioner: str = "example.com/x", **fields: Any) -> None:
        body = {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"}
        await self._scheduled.client.of(STORAGE_CLASSES).create_json(body | fields)

    async def claim(self, name: str = "c", size: str = _SIZE, **spec: Any) -> None:
        await self._claims.create_json(claim_json(name, size, **spec))

    async def volume(self, name: str, size: str = _SIZE, node: str = "", **spec: Any) -> None:
        labels = spec.pop("labels", {})
        made = volume_json(name, size, node, **spec)
        made["metadata"]["labels"] = labels
        await self._volumes.create_json(made)
        await self._volumes.patch(ObjectMeta(name=name), {"status": {"phase": "Available"}}, subresource="status")

    async def get(self, name: str = "c") -> PersistentVolumeClaim:
        return await self._claims.get(name, "default")

    async def asked(self, name: str = "c") -> str:
        """The node on which the claim's volume is to be made, once that is decided."""

        async def check() -> str:
            return (await self.get(name)).metadata.annotations.get(SELECTED_NODE, "")

        node: str = await self._scheduled.until(check, f"a node for {name}")
        return node

    async def reserved(self, volume: str) -> str:
        """The claim that a volume was given to, once it was."""

        async def check() -> str:
            reference = (await self._volumes.get(volume)).spec.claim_ref
            return reference.name if reference is not None else ""

        name: str = await self._scheduled.until(check, f"a claim for {volume}")
        return name

    async def bind(self, volume: str, name: str = "c") -> None:
        """As the binder does."""
        found = await self.get(name)
        reference = {"namespace": "default", "name": name, "uid": found.metadata.uid}
        await self._volumes.patch(ObjectMeta(name=volume), {"spec": {"claimRef": reference}})
        patch = {"metadata": {"annotations": {BIND_COMPLETED: "yes"}}, "spec": {"volumeName": volume}}
        await self._claims.patch(found.metadata, patch)

    async def unselect(self, name: str = "c") -> None:
        """As a provisioner does that cannot make the volume there."""
        await self._claims.patch((await self.get(name)).metadata, {"metadata": {"annotations": {SELECTED_NODE: None}}})
