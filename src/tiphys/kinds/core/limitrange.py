"""LimitRange. Source: https://kubernetes.io/docs/concepts/policy/limit-range/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names, quantity
from tiphys.api.errors import FieldError, duplicate, forbidden, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import follows, quantities
from tiphys.kinds.columns import CREATED_AT, NAME
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import KindStrategy


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


class LimitRangeStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        """A default request is the default limit, else the minimum; the default limit is the maximum."""
        for item in dig(new, "spec", "limits") or ():
            if item.get("type") == "Container":
                default = {**(item.get("max") or {}), **(item.get("default") or {})}
                request = {**(item.get("min") or {}), **default, **(item.get("defaultRequest") or {})}
                if default:
                    item["default"] = default
                if request:
                    item["defaultRequest"] = request

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        seen: set[str] = set()
        for index, item in enumerate(dig(new, "spec", "limits") or ()):
            where, kind = f"spec.limits[{index}]", item.get("type") or ""
            yield from follows(kind, f"{where}.type", names.qualified_name)
            if kind in seen:
                yield duplicate(f"{where}.type", kind)
            seen.add(kind)
            for field in ("max", "min", "default", "defaultRequest"):
                yield from quantities(item.get(field), f"{where}.{field}")
            if kind == "Pod":
                for field in ("default", "defaultRequest"):
                    if item.get(field):
                        yield forbidden(f"{where}.{field}", "may not be specified when `type` is 'Pod'")
            yield from _check_order(item, where)


def _check_order(item: Json, path: str) -> Iterator[FieldError]:
    """min <= default request <= default <= max, wherever two of them are said."""
    for low, high in _PAIRS:
        for name, amount in (item.get(low) or {}).items():
            bound = (item.get(high) or {}).get(name)
            if bound is not None and quantity.parse(amount) > quantity.parse(bound):
                rule = f"{_SAID[low]} value {amount} is greater than {_SAID[high]} value {bound}"
                yield invalid(f"{path}.{low}[{name}]", amount, rule)


_PAIRS = (
    ("min", "max"), ("defaultRequest", "max"), ("default", "max"), ("defaultRequest", "default"),
)  # fmt: skip
_SAID = {"min": "min", "max": "max", "default": "default limit", "defaultRequest": "default request"}


LIMIT_RANGES = declare(
    LimitRange, group="", version="v1", kind="LimitRange", plural="limitranges", short_names=("limits",),
    create_on_update=True,
    columns=(NAME, CREATED_AT), strategy=LimitRangeStrategy(),
)  # fmt: skip
