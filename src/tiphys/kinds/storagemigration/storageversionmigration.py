"""StorageVersionMigration. Source: https://kubernetes.io/docs/reference/kubernetes-api/"""

from __future__ import annotations

from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import StatusStrategy

STORAGE_VERSION_MIGRATIONS = declare(
    group="storagemigration.k8s.io", version="v1beta1",
    kind="StorageVersionMigration", plural="storageversionmigrations",
    namespaced=False, status=True,
    strategy=StatusStrategy(),
)  # fmt: skip
