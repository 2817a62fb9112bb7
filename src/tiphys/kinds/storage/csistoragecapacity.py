"""CSIStorageCapacity. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.resource import Json
from tiphys.kinds.checks import has, immutable, label_selector
from tiphys.kinds.columns import AGE, NAME, at
from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import KindStrategy


class CsiStorageCapacityStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from has(new, "", "storageClassName")
        yield from label_selector(new.get("nodeTopology"), "nodeTopology")
        yield from immutable(new, old, "nodeTopology", "storageClassName")


CSI_STORAGE_CAPACITIES = declare(
    group="storage.k8s.io", version="v1", kind="CSIStorageCapacity", plural="csistoragecapacities",
    unconditional_update=False,
    columns=(NAME, at("StorageClassName", "storageClassName"), at("Capacity", "capacity"), AGE),
    strategy=CsiStorageCapacityStrategy(),
)  # fmt: skip
