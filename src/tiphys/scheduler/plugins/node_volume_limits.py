"""NodeVolumeLimits: a node has no more volumes of a driver than the driver says in its CSINode.

Source: https://kubernetes.io/docs/concepts/storage/storage-limits/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tiphys.kinds.core.volume_binding import class_of
from tiphys.scheduler.cluster import Cluster, Mask
from tiphys.scheduler.plugin import NODE_ADDED, POD_REMOVED, Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.volumes import CLAIM_CHANGED, DRIVER_CHANGED, Volumes

Handles = dict[str, set[str]]


class NodeVolumeLimits(Plugin):
    name = "NodeVolumeLimits"
    views = (Volumes,)
    retry_on = frozenset({NODE_ADDED, POD_REMOVED, CLAIM_CHANGED, DRIVER_CHANGED})

    def filter(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        return self._mask(info, cluster, alone=False) if info.claims else None

    def lasting(self, info: PodInfo, cluster: Cluster) -> Mask | None:
        return self._mask(info, cluster, alone=True) if info.claims else None

    def _mask(self, info: PodInfo, cluster: Cluster, *, alone: bool) -> Mask | None:
        """`alone`: as if no other pod was there."""
        view = cluster.view(Volumes)
        wanted = handles((key for key, _ in info.claims), view) if view.limits else {}
        mask: Mask | None = None
        for driver, mine in wanted.items():
            for name, limit in view.limits.get(driver, {}).items():
                row = cluster.row(name)
                if row is None:
                    continue
                held = handles(() if alone else view.used.get(row, ()), view).get(driver, set())
                if len(held | mine) > limit:
                    mask = np.ones(len(cluster.rows), np.bool_) if mask is None else mask
                    mask[row] = False
        return mask

    def helps(self, info: PodInfo, event: str, subject: Any) -> bool:
        if event == POD_REMOVED:
            return bool(subject.claims)
        return bool(info.claims)

    def reasons(self, info: PodInfo, cluster: Cluster, refused: Mask) -> Iterator[tuple[str, int]]:
        yield "node(s) exceed max volume count", int(refused.sum())


def handles(claims: Iterable[str], view: Volumes) -> Handles:
    """By driver, the volumes of these claims; one that is to be made yet counts as one of its own."""
    found: Handles = {}
    for key in claims:
        claim = view.claims.get(key)
        if claim is None:
            continue
        volume = view.volumes.get(claim.spec.volume_name)
        if volume is not None:
            if volume.spec.csi is not None:
                found.setdefault(volume.spec.csi.driver, set()).add(volume.spec.csi.volume_handle)
            continue
        storage = view.classes.get(class_of(claim))
        if storage is not None and storage.provisioner:
            found.setdefault(storage.provisioner, set()).add(f"{storage.provisioner}-{key}")
    return found
