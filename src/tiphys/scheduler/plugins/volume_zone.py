"""VolumeZone: volumes with zone or region labels are used in that zone or region.

Source: https://kubernetes.io/docs/setup/best-practices/multiple-zones/#storage-access-for-zones
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tiphys.kinds.core.persistentvolume import PersistentVolume
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.plugin import NODE_ADDED, NODE_CHANGED, Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.volumes import CLAIM_CHANGED, VOLUME_CHANGED, Volumes

# Each label and the other one that stands for the same.
LABELS = {
    "topology.kubernetes.io/zone": "failure-domain.beta.kubernetes.io/zone",
    "topology.kubernetes.io/region": "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
# Between the zones of a volume that is in several.
_AND = "__"


class VolumeZone(Plugin):
    name = "VolumeZone"
    views = (Volumes,)
    retry_on = frozenset({NODE_ADDED, NODE_CHANGED, CLAIM_CHANGED, VOLUME_CHANGED})

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        if not info.claims:
            return None
        mask: Mask | None = None
        for volume in bound_volumes(info, cluster):
            for key, values in zones(volume).items():
                within = cluster.domains(key).having(values) | cluster.domains(LABELS[key]).having(values)
                within |= _nowhere(cluster)
                mask = within if mask is None else mask & within
        return mask

    def helps(self, info: PodInfo, event: str, subject: Any) -> bool:
        if event != CLAIM_CHANGED:
            return bool(info.claims)
        return any(key == subject.metadata.key for key, _ in info.claims)

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield "node(s) had no available volume zone", int(refused.sum())


def bound_volumes(info: PodInfo, cluster: Cluster) -> Iterator[PersistentVolume]:
    """The volumes of those claims of the pod that have one."""
    view = cluster.view(Volumes)
    for key, _ in info.claims:
        claim = view.claims.get(key)
        volume = view.volumes.get(claim.spec.volume_name) if claim is not None else None
        if volume is not None:
            yield volume


def zones(volume: PersistentVolume) -> Mapping[str, list[str]]:
    """The zones and regions that have the volume, by label."""
    return {key: text.split(_AND) for key in LABELS if (text := volume.metadata.labels.get(key))}


def _nowhere(cluster: Cluster) -> Mask:
    """Nodes without any such label: where nobody says anything of zones there is one."""
    mask: Mask = np.ones(len(cluster.rows), np.bool_)
    for key in LABELS:
        mask &= cluster.domains(key).ids == 0
    return mask
