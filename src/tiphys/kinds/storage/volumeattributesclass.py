"""VolumeAttributesClass. Source: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, forbidden
from tiphys.api.resource import Json
from tiphys.kinds.columns import AGE, NAME, at
from tiphys.kinds.declare import declare
from tiphys.kinds.storage.parameters import check_parameters, check_provisioner
from tiphys.kinds.strategy import KindStrategy


class VolumeAttributesClassStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        for field in ("driverName", "parameters") if old is not None else ():
            if (new.get(field) or {}) != ((old or {}).get(field) or {}):
                yield forbidden(field, f"updates to {field} are forbidden.")
        yield from check_provisioner(new.get("driverName") or "", "driverName")
        yield from check_parameters(new.get("parameters") or {}, "parameters", needed=True)


VOLUME_ATTRIBUTES_CLASSES = declare(
    group="storage.k8s.io", version="v1", kind="VolumeAttributesClass", plural="volumeattributesclasses",
    short_names=("vac",), namespaced=False,
    columns=(NAME, at("DriverName", "driverName"), AGE), strategy=VolumeAttributesClassStrategy(),
)  # fmt: skip
