"""Which running pods may be moved at all: those that somebody makes anew, and that lose nothing by it."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.kinds.core.pod import Pod
from tiphys.scheduler.gang import gang_key
from tiphys.scheduler.pod import PodInfo

SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict"
MIRROR = "kubernetes.io/config.mirror"
# Priorities from here on are the system's own.
_SYSTEM = 2_000_000_000
# The kinds whose pods stay on their node, and those whose pods would begin their work anew.
_BOUND_TO_NODES, _WORKING = ("DaemonSet", "Node"), ("Job",)


def stays(info: PodInfo) -> bool:
    """Whether a pod belongs to its node and goes with it."""
    owner = info.pod.metadata.controller
    return MIRROR in info.pod.metadata.annotations or (owner is not None and owner.kind in _BOUND_TO_NODES)


def immovable(info: PodInfo, *, follows_volumes: bool) -> str:
    """Why a pod is never moved; empty if it may be. `follows_volumes`: whether plugins see where its claims can go."""
    pod, owner = info.pod, info.pod.metadata.controller
    safe = pod.metadata.annotations.get(SAFE)
    if stays(info):
        return "belongs to its node"
    if owner is None:
        return "has no controller that would make it again"
    if safe == "false":
        return f"is annotated {SAFE}: false"
    if pod.spec.priority >= _SYSTEM:
        return "is critical to the system"
    if owner.kind in _WORKING:
        return f"is of a {owner.kind}, whose work would begin anew"
    if gang_key(pod):
        return "belongs to a group that is placed all at once"
    if pod.deleted or not pod.ready:
        return "is not ready, or is going already"
    return _tied(pod, safe=safe == "true", follows_volumes=follows_volumes)


def _tied(pod: Pod, *, safe: bool, follows_volumes: bool) -> str:
    """What a pod has on its node that does not come with it."""
    if pod.spec.resource_claims:
        return "has devices"
    if any(volume.empty_dir is not None or volume.host_path is not None for volume in pod.spec.volumes) and not safe:
        return f"has data on its node (annotate it {SAFE}: true if that does not matter)"
    if not follows_volumes and any(volume.persistent_volume_claim is not None for volume in pod.spec.volumes):
        return "has persistent volumes"
    return ""


def unhealthy(pods: Iterable[PodInfo]) -> set[str]:
    """The UIDs of the controllers of which a pod is missing its node, not ready, or going."""
    owners = set()
    for info in pods:
        owner, pod = info.pod.metadata.controller, info.pod
        if owner is not None and (pod.deleted or not pod.spec.node_name or not pod.ready):
            owners.add(str(owner.uid))
    return owners
