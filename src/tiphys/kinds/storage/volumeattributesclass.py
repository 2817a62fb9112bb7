"""VolumeAttributesClass. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.resource import Json
from tiphys.kinds.checks import has, immutable
from tiphys.kinds.columns import AGE, NAME, at
from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import KindStrategy


class VolumeAttributesClassStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from has(new, "", "driverName", "parameters")
        yield from immutable(new, old, "driverName", "parameters")


VOLUME_ATTRIBUTES_CLASSES = declare(
    group="storage.k8s.io", version="v1", kind="VolumeAttributesClass", plural="volumeattributesclasses",
    short_names=("vac",), namespaced=False,
    columns=(NAME, at("DriverName", "driverName"), AGE), strategy=VolumeAttributesClassStrategy(),
)  # fmt: skip
