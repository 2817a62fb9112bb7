"""LimitRange. Source: https://kubernetes.io/docs/concepts/policy/limit-range/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names, quantity
from tiphys.api.errors import FieldError, duplicate, forbidden, invalid, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.columns import CREATED_AT, NAME
from tiphys.kinds.core.resource_validation import check_container_name, check_name, overcommits
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
            yield from _check_kind(kind, f"{where}.type")
            if kind in seen:
                yield duplicate(f"{where}.type", kind)
            seen.add(kind)
            yield from _check_names(item, kind, where)
            for name in sorted({name for field in _FIELDS for name in item.get(field) or ()}):
                yield from _check_order(item, name, where)


_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
# (lower, upper, the one that is named, the one whose value is shown): as upstream has it.
_PAIRS = (
    ("min", "max", "min", "min"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest"),
    ("min", "default", "default", "min"),
    ("default", "max", "default", "max"),
)
_SAID = {"min": "min", "max": "max", "defaultRequest": "default request", "default": "default"}


def _check_kind(kind: str, path: str) -> Iterator[FieldError]:
    problems = names.qualified_name(kind)
    for problem in problems:
        yield invalid(path, kind, problem)
    if not problems and "/" not in kind and kind not in ("Pod", "Container", "PersistentVolumeClaim"):
        yield invalid(path, kind, "must be a standard limit type or fully qualified")


def _check_names(item: Json, kind: str, path: str) -> Iterator[FieldError]:
    rule = check_container_name if kind in ("Pod", "Container") else check_name
    for field in _FIELDS:
        amounts = item.get(field) or {}
        if kind == "Pod" and field in ("default", "defaultRequest"):
            if amounts:
                yield forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
            continue
        bounded = any("storage" in (item.get(bound) or ()) for bound in ("min", "max"))
        if field == "maxLimitRequestRatio" and kind == "PersistentVolumeClaim" and not bounded:
            needs = "either minimum or maximum storage value is required, but neither was provided"
            yield required(f"{path}.limits", needs)
        for name in amounts:
            yield from rule(name, f"{path}.{field}[{name}]")


def _check_order(item: Json, name: str, path: str) -> Iterator[FieldError]:
    """min <= default request <= default <= max, wherever two of them are said; a ratio that these leave room for."""
    # A pod as a whole has no defaults; that it was given some is said elsewhere.
    fields = ("max", "min", "maxLimitRequestRatio") if item.get("type") == "Pod" else _FIELDS
    said = {field: quantity.parse(item[field][name]) for field in fields if name in (item.get(field) or ())}
    for low, high, named, shown in _PAIRS:
        if low in said and high in said and said[low] > said[high]:
            called = "default limit" if (low, high) == ("defaultRequest", "default") else _SAID[high]
            rule = f"{_SAID[low]} value {said[low]} is greater than {called} value {said[high]}"
            yield invalid(f"{path}.{named}[{name}]", str(said[shown]), rule)
    ratio, where = said.get("maxLimitRequestRatio"), f"{path}.maxLimitRequestRatio[{name}]"
    if ratio is not None and ratio < quantity.of(1):
        yield invalid(where, str(ratio), f"ratio {ratio} is less than 1")
    if ratio is not None and "min" in said and "max" in said and said["min"]:
        most = said["max"].nanos / said["min"].nanos
        if ratio.nanos / 10**9 > most:
            yield invalid(where, str(ratio), f"ratio {ratio} is greater than max/min = {most:f}")
    default, request = said.get("default"), said.get("defaultRequest")
    if not overcommits(name) and default is not None and request is not None and default != request:
        rule = f"default value {default} must equal to defaultRequest value {request} in {name}"
        yield invalid(f"{path}.defaultRequest[{name}]", str(request), rule)


LIMIT_RANGES = declare(
    LimitRange, group="", version="v1", kind="LimitRange", plural="limitranges", short_names=("limits",),
    create_on_update=True,
    columns=(NAME, CREATED_AT), strategy=LimitRangeStrategy(),
)  # fmt: skip
