"""VolumeRestrictions: a claim of access mode ReadWriteOncePod is used by one pod of the whole cluster.

Source: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tiphys.kinds.core.volume_binding import ONE_POD
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.plugin import NODE_ADDED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.volumes import CLAIM_CHANGED, Volumes


class VolumeRestrictions(Plugin):
    name = "VolumeRestrictions"
    views = (Volumes,)
    retry_on = frozenset({NODE_ADDED, POD_REMOVED, CLAIM_CHANGED})

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        if not info.claims or not users(info, cluster):
            return None
        return np.zeros(len(cluster.rows), np.bool_)

    def lasting(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        rows = users(info, cluster) if info.claims else set()
        if not rows:
            return None
        mask = np.zeros(len(cluster.rows), np.bool_)
        if len(rows) == 1:
            # It would do if the one that uses the claim went from there.
            mask[list(rows)] = True
        return mask

    def helps(self, info: PodInfo, event: str, subject: Any) -> bool:
        keys = {key for key, _ in info.claims}
        if isinstance(subject, PodInfo):
            return any(key in keys for key, _ in subject.claims)
        return event != CLAIM_CHANGED or subject.metadata.key in keys

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        words = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
        yield words, int(refused.sum())


def users(info: PodInfo, cluster: Cluster) -> set[int]:
    """The rows with pods that use claims of the pod which are for one pod only."""
    view = cluster.view(Volumes)
    return {
        row for key, _ in info.claims if key in view.users
        if (claim := view.claims.get(key)) is not None and ONE_POD in claim.spec.access_modes
        for row in view.users[key]
    }  # fmt: skip
