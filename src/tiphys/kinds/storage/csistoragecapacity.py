"""CSIStorageCapacity. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names, quantity
from tiphys.api.errors import FieldError, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import NON_NEGATIVE, follows, immutable, label_selector
from tiphys.kinds.columns import AGE, NAME, at
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.node_labels import label_selector_warnings
from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import KindStrategy


class CsiStorageCapacity(Model):
    """How much of a class a driver can make on the nodes that `node_topology` selects."""

    metadata: ObjectMeta = ObjectMeta()
    node_topology: LabelSelector | None = None
    storage_class_name: str = ""
    capacity: str | None = None
    maximum_volume_size: str | None = None


class CsiStorageCapacityStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is not None:  # what is known of them is immutable, the rest is not looked at again
            yield from immutable(new, old, "nodeTopology", "storageClassName")
            return
        yield from label_selector(new.get("nodeTopology"), "nodeTopology")
        yield from follows(new.get("storageClassName") or "", "storageClassName", names.dns1123_subdomain)
        capacity = new.get("capacity")
        if capacity is not None and quantity.parse(capacity) < quantity.ZERO:
            yield invalid("capacity", capacity, NON_NEGATIVE)

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        yield from label_selector_warnings(new.get("nodeTopology"), "nodeTopology")


CSI_STORAGE_CAPACITIES = declare(
    CsiStorageCapacity, group="storage.k8s.io", version="v1", kind="CSIStorageCapacity", plural="csistoragecapacities",
    unconditional_update=False,
    columns=(NAME, at("StorageClassName", "storageClassName"), at("Capacity", "capacity"), AGE),
    strategy=CsiStorageCapacityStrategy(),
)  # fmt: skip
