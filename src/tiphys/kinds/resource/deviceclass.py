"""DeviceClass. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.core.resource_validation import is_extended
from tiphys.kinds.declare import declare
from tiphys.kinds.resource.checks import MAX_SELECTORS, check_configuration, check_list, check_selector
from tiphys.kinds.resource.requests import ClassConfiguration, DeviceSelector
from tiphys.kinds.strategy import KindStrategy

_MAX_CONFIGS = 32


class DeviceClassSpec(Model):
    selectors: list[DeviceSelector] = []
    config: list[ClassConfiguration] = []
    extended_resource_name: str | None = None


class DeviceClass(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: DeviceClassSpec = DeviceClassSpec()


class DeviceClassStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        yield from check_list(spec.get("selectors") or [], MAX_SELECTORS, "spec.selectors", check_selector)
        yield from check_list(spec.get("config") or [], _MAX_CONFIGS, "spec.config", check_configuration)
        extended = spec.get("extendedResourceName")
        if extended is not None and not is_extended(extended):
            yield invalid("spec.extendedResourceName", extended, "must be a valid extended resource name")


DEVICE_CLASSES = declare(
    DeviceClass, group="resource.k8s.io", version="v1", kind="DeviceClass", plural="deviceclasses",
    namespaced=False,
    strategy=DeviceClassStrategy(),
)  # fmt: skip
