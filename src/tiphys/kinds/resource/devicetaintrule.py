"""DeviceTaintRule. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, too_many
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows
from tiphys.kinds.conditions import check_conditions
from tiphys.kinds.core.volume_sources import check_driver_name
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.resource.checks import check_pool_name, check_taint
from tiphys.kinds.strategy import StatusStrategy

_MAX_CONDITIONS = 8


class DeviceTaintRuleStrategy(StatusStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if old is None or spec != old.get("spec"):
            yield from _check_selector(spec.get("deviceSelector") or {}, "spec.deviceSelector")
            yield from check_taint(spec.get("taint") or {}, "spec.taint")
        conditions = dig(new, "status", "conditions") or []
        if old is not None and conditions != (dig(old, "status", "conditions") or []):
            yield from check_conditions(conditions, "status.conditions")
            if len(conditions) > _MAX_CONDITIONS:
                yield too_many("status.conditions", len(conditions), _MAX_CONDITIONS)


def _check_selector(selector: Json, path: str) -> Iterator[FieldError]:
    if selector.get("driver") is not None:
        yield from check_driver_name(selector["driver"], f"{path}.driver")
    if selector.get("pool") is not None:
        yield from check_pool_name(selector["pool"], f"{path}.pool")
    if selector.get("device") is not None:
        yield from follows(selector["device"], f"{path}.device", names.dns1123_label)


DEVICE_TAINT_RULES = declare(
    group="resource.k8s.io", version="v1beta2", kind="DeviceTaintRule", plural="devicetaintrules",
    namespaced=False, status=True,
    strategy=DeviceTaintRuleStrategy(),
)  # fmt: skip
