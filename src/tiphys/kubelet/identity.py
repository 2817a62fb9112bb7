"""Names and hashes by which a pod's things are known on this node. Pure."""

from __future__ import annotations

import hashlib

from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.runtime import CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID


def container_hash(container: Container) -> str:
    """Changes when the container must be made anew: of a running pod only its image may change."""
    return hashlib.sha256(f"{container.name}\0{container.image}".encode()).hexdigest()[:16]


def pod_labels(pod: Pod) -> dict[str, str]:
    """The pod's own labels and those that say whose a sandbox is."""
    meta = pod.metadata
    own = {POD_NAME: meta.name, POD_NAMESPACE: meta.namespace, POD_UID: meta.uid}
    return {**meta.labels, **own}


def container_labels(pod: Pod, name: str) -> dict[str, str]:
    meta = pod.metadata
    return {CONTAINER_NAME: name, POD_NAME: meta.name, POD_NAMESPACE: meta.namespace, POD_UID: meta.uid}


def log_directory(root: str, pod: Pod) -> str:
    """Where a pod's logs lie, as upstream lays them out: NAMESPACE_NAME_UID."""
    meta = pod.metadata
    return f"{root}/{meta.namespace}_{meta.name}_{meta.uid}"


def shown(pod: Pod) -> str:
    """The pod in messages: name_namespace(uid)."""
    return f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
