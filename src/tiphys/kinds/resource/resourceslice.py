"""ResourceSlice. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable
from tiphys.kinds.columns import AGE, NAME, UNSET, at
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import text_at
from tiphys.kinds.resource.slice_validation import check_slice
from tiphys.kinds.strategy import KindStrategy


class ResourceSliceStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if old is None or spec != old.get("spec"):
            yield from check_slice(spec)
            yield from immutable(new, old, "spec.pool.name", "spec.driver", "spec.nodeName")


RESOURCE_SLICES = declare(
    group="resource.k8s.io", version="v1", kind="ResourceSlice", plural="resourceslices",
    namespaced=False,
    columns=(
        NAME, at("Node", "spec", "nodeName", empty=UNSET), at("Driver", "spec", "driver"),
        at("Pool", "spec", "pool", "name"), AGE,
    ),
    selectable_fields={
        "spec.nodeName": text_at("spec", "nodeName"), "spec.driver": text_at("spec", "driver"),
    },
    strategy=ResourceSliceStrategy(),
)  # fmt: skip
