"""LimitRanger: defaults and bounds of what containers, pods and claims in a namespace ask for.

Source: https://kubernetes.io/docs/concepts/policy/limit-range/
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import errors
from tiphys.api.pod_resources import Amounts, parsed, totals
from tiphys.api.quantity import Quantity
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

_RANGES = "/registry/core/limitranges/"
_ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger(Plugin):
    operations = ("CREATE", "UPDATE")
    resources = (("", "pods"), ("", "persistentvolumeclaims"))

    def __init__(self, cache: Cache) -> None:
        self._ranges = cache.of(_RANGES)

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation == "CREATE" and attributes.is_for("", "pods") and attributes.obj is not None:
            for item in self._items(attributes):
                if item["type"] == "Container":
                    _fill(attributes.obj, item)

    async def validate(self, attributes: Attributes) -> None:
        obj = attributes.obj
        if obj is None or not _wanted(attributes) or obj["metadata"].get("deletionTimestamp"):
            return
        check = _check_pod if attributes.resource.plural == "pods" else _check_claim
        problems = [problem for item in self._items(attributes) for problem in check(item, obj["spec"])]
        if problems:
            why = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
            raise errors.denied("", attributes.resource.plural, attributes.name, why)

    def _items(self, attributes: Attributes) -> Iterator[Json]:
        for entry in self._ranges.scan(f"{_RANGES}{attributes.namespace}/"):
            yield from entry.decode()["spec"].get("limits") or ()


def _wanted(attributes: Attributes) -> bool:
    if attributes.is_for("", "pods"):
        return attributes.operation == "CREATE"
    resized = attributes.is_for("", "pods", "resize") and attributes.operation == "UPDATE"
    return resized or (attributes.is_for("", "persistentvolumeclaims") and attributes.operation in ("CREATE", "UPDATE"))


def _fill(pod: Json, item: Json) -> None:
    notes = []
    for field, label in (("containers", "container"), ("initContainers", "init container")):
        for container in pod["spec"].get(field) or ():
            for kind, source in (("requests", "defaultRequest"), ("limits", "default")):
                filled = _fill_one(container, kind, item.get(source) or {})
                if filled:
                    notes.append(f"{', '.join(sorted(filled))} {kind[:-1]} for {label} {container['name']}")
    if notes:
        annotations = pod["metadata"].get("annotations") or {}
        pod["metadata"]["annotations"] = annotations | {_ANNOTATION: f"LimitRanger plugin set: {'; '.join(notes)}"}


def _fill_one(container: Json, kind: str, defaults: Json) -> list[str]:
    resources = container.get("resources") or {}
    amounts = resources.get(kind) or {}
    missing = {name: amount for name, amount in defaults.items() if name not in amounts}
    if missing:
        container["resources"] = resources | {kind: amounts | missing}
    return list(missing)


def _check_pod(item: Json, spec: Json) -> Iterator[str]:
    if item["type"] == "Container":
        for field in ("containers", "initContainers"):
            for container in spec.get(field) or ():
                resources = container.get("resources") or {}
                yield from _check(item, parsed(resources.get("requests")), parsed(resources.get("limits")))
    elif item["type"] == "Pod":
        yield from _check(item, totals(spec, "requests"), totals(spec, "limits"))


def _check_claim(item: Json, spec: Json) -> Iterator[str]:
    if item["type"] == "PersistentVolumeClaim":
        requests = parsed((spec.get("resources") or {}).get("requests"))
        for name, bound in parsed(item.get("min")).items():
            yield from _at_least(item, name, bound, requests, {})
        for name, bound in parsed(item.get("max")).items():
            head = f"maximum {name} usage per PersistentVolumeClaim is {bound}"
            yield from _at_most(f"{head}.  No request is specified", head, "request", bound, requests.get(name))


def _check(item: Json, requests: Amounts, limits: Amounts) -> Iterator[str]:
    kind = item["type"]
    for name, bound in parsed(item.get("min")).items():
        yield from _at_least(item, name, bound, requests, limits)
    for name, bound in parsed(item.get("max")).items():
        head = f"maximum {name} usage per {kind} is {bound}"
        found = list(_at_most(f"{head}.  No limit is specified", head, "limit", bound, limits.get(name)))
        if not found and name in requests:
            found = list(_at_most("", head, "request", bound, requests[name]))
        yield from found
    for name, bound in parsed(item.get("maxLimitRequestRatio")).items():
        yield from _ratio(kind, name, bound, requests.get(name), limits.get(name))


def _at_least(item: Json, name: str, bound: Quantity, requests: Amounts, limits: Amounts) -> Iterator[str]:
    head = f"minimum {name} usage per {item['type']} is {bound}"
    if name not in requests:
        yield f"{head}.  No request is specified"
    elif requests[name] < bound:
        yield f"{head}, but request is {requests[name]}"
    elif name in limits and limits[name] < bound:
        yield f"{head}, but limit is {limits[name]}"


def _at_most(unsaid: str, head: str, what: str, bound: Quantity, found: Quantity | None) -> Iterator[str]:
    if found is None:
        yield unsaid
    elif found > bound:
        yield f"{head}, but {what} is {found}"


def _ratio(kind: str, name: str, bound: Quantity, request: Quantity | None, limit: Quantity | None) -> Iterator[str]:
    head = f"{name} max limit to request ratio per {kind} is {bound}"
    if not request:
        yield f"{head}, but no request is specified or request is 0"
    elif not limit:
        yield f"{head}, but no limit is specified or limit is 0"
    elif limit.nanos * 10**9 > bound.nanos * request.nanos:
        yield f"{head}, but provided ratio is {limit.nanos / request.nanos:f}"
