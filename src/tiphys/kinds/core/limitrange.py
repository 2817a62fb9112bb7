"""LimitRange. Source: https://kubernetes.io/docs/concepts/policy/limit-range/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare


class LimitRangeItem(Model):
    """Quantities by resource name, as canonical strings."""

    type: str
    max: dict[str, str] = {}
    min: dict[str, str] = {}
    default: dict[str, str] = {}
    default_request: dict[str, str] = {}
    max_limit_request_ratio: dict[str, str] = {}


class LimitRangeSpec(Model):
    limits: list[LimitRangeItem] = []


class LimitRange(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: LimitRangeSpec = LimitRangeSpec()


LIMIT_RANGES = declare(
    LimitRange, group="", version="v1", kind="LimitRange", plural="limitranges", short_names=("limits",)
)
