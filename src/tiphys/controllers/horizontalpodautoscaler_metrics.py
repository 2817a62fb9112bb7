"""Reads the metrics that HorizontalPodAutoscalers follow: {metrics,custom.metrics,external.metrics}.k8s.io.

Autoscalers of a namespace are looked after together, and what one of them asked for is there for the others: one list
of its pods' use serves them all. Nothing is asked while nobody calls. What cannot be true (no number, negative, too
old) is left out and told of as the `fault` of what is left.
Source: https://github.com/kubernetes/metrics/tree/master/pkg/apis
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from tiphys.api import quantity
from tiphys.api.errors import ApiError, NotFound
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.selectors import from_object
from tiphys.api.time import seconds
from tiphys.base.clock import Clock
from tiphys.client.transport import Transport, Unreachable
from tiphys.controllers.horizontalpodautoscaler_replicas import MetricError, Sample, Samples
from tiphys.kinds.autoscaling.horizontalpodautoscaler import MetricIdentifier, ResourceMetric
from tiphys.kinds.core.affinity import LabelSelector

# What was read this long ago is read again; what was measured this long ago tells nothing of now. Seconds.
_FRESH, _STALE = 1.0, 120.0
_PATIENCE = 10.0
_PART = re.compile(r"([0-9.]+)(ns|us|µs|ms|h|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_CUSTOM = ("/apis/custom.metrics.k8s.io/v1beta2", "/apis/custom.metrics.k8s.io/v1beta1")
_EXTERNAL = ("/apis/external.metrics.k8s.io/v1beta1",)
T = TypeVar("T")


class _Container(Model):
    name: str = ""
    usage: dict[str, Any] = {}


class _PodMetrics(Model):
    metadata: ObjectMeta = ObjectMeta()
    timestamp: str = ""
    window: str = ""
    containers: list[_Container] = []


class _Described(Model):
    name: str = ""
    namespace: str = ""


class _Value(Model):
    """Of a custom or an external metric."""

    described_object: _Described = _Described()
    timestamp: str = ""
    window_seconds: float | None = None
    value: Any = None


class _Pods(Model):
    items: list[_PodMetrics] = []


class _Values(Model):
    items: list[_Value] = []


_pods = msgspec.json.Decoder(_Pods)
_values = msgspec.json.Decoder(_Values)


@dataclass(slots=True)
class _Kept:
    """`found` is an answer or an error, read at `at`; whoever reads it holds the lock."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float = -math.inf
    found: Any = None


class MetricsReader:
    """Every method raises MetricError with a text for a condition."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport, self._clock = transport, clock
        self._kept: dict[str, _Kept] = {}

    async def resource(self, namespace: str, metric: ResourceMetric, names: Iterable[str]) -> Samples:
        """What the pods of these names, or their containers of the metric's `container`, use; CPU in milli-cores."""
        api = "resource metrics API"
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
        try:
            found = await self._once((path,), {}, api, _by_name)
        except MetricError as error:
            raise MetricError(f"unable to get metrics for resource {metric.name}: {error}") from None
        collected = _Collected(self._clock.time())
        for name in names:
            pod = found.get(name)
            if pod is not None:
                collected.pod(name, pod, metric)
        if not collected.samples and not collected.fault:
            raise MetricError(f"unable to get metrics for resource {metric.name}: no metrics returned from {api}")
        return Samples(collected.samples, collected.fault)

    async def pods(self, namespace: str, metric: MetricIdentifier, selector: str, names: Iterable[str]) -> Samples:
        """A custom metric of the pods that `selector` selects; those of other names are left out."""
        path = f"namespaces/{namespace}/pods/*/{metric.name}"
        query = _query("metricLabelSelector", metric.selector) | {"labelSelector": selector}
        found = await self._once([f"{api}/{path}" for api in _CUSTOM], query, "custom metrics API", _items)
        collected, wanted = _Collected(self._clock.time()), set(names)
        for item in found:
            if item.described_object.name in wanted:
                collected.value(item.described_object.name, item)
        if not collected.samples and not collected.fault:
            raise MetricError("no metrics returned from custom metrics API")
        return Samples(collected.samples, collected.fault)

    async def object(self, path: str, metric: MetricIdentifier) -> int:
        """A custom metric of one object, in thousandths. `path` is below the API: `namespaces/NS/services/NAME`."""
        query = _query("metricLabelSelector", metric.selector)
        paths = [f"{api}/{path}/{metric.name}" for api in _CUSTOM]
        found = await self._once(paths, query, "custom metrics API", _items)
        return self._sum(found[:1], metric.name)

    async def external(self, namespace: str, metric: MetricIdentifier) -> int:
        """The sum of all values of an external metric, in thousandths."""
        query = _query("labelSelector", metric.selector)
        paths = [f"{api}/namespaces/{namespace}/{metric.name}" for api in _EXTERNAL]
        found = await self._once(paths, query, "external metrics API", _items)
        if not found:
            raise MetricError("no metrics returned from external metrics API")
        return self._sum(found, metric.name)

    def _sum(self, found: Sequence[_Value], name: str) -> int:
        collected = _Collected(self._clock.time())
        for index, item in enumerate(found):
            collected.value(str(index), item)
        if collected.fault:
            raise MetricError(f"{name}: {collected.fault}")
        if not collected.samples:
            raise MetricError(f"{name}: no value was returned")
        return sum(sample.value for sample in collected.samples.values())

    async def _once(
        self, paths: Sequence[str], query: Mapping[str, str], api: str, decode: Callable[[bytes], T]
    ) -> T:
        """The answer of the first path that is served, or what it was a moment ago."""
        self._forget()
        key = f"{paths[0]}?{sorted(query.items())}"
        kept = self._kept.setdefault(key, _Kept())
        async with kept.lock:
            if self._clock.monotonic() - kept.at >= _FRESH:
                kept.found = await self._read(paths, query, api, decode)
                kept.at = self._clock.monotonic()
        if isinstance(kept.found, MetricError):
            raise MetricError(str(kept.found))
        found: T = kept.found
        return found

    def _forget(self) -> None:
        before = self._clock.monotonic() - _FRESH
        for key in [key for key, kept in self._kept.items() if kept.at < before and not kept.lock.locked()]:
            del self._kept[key]

    async def _read(
        self, paths: Sequence[str], query: Mapping[str, str], api: str, decode: Callable[[bytes], T]
    ) -> T | MetricError:
        why = ""
        for path in paths:
            try:
                return decode(await self._transport.send("GET", path, query=query, within=_PATIENCE))
            except NotFound as error:
                why = why or str(error)
            except (ApiError, Unreachable) as error:
                why = str(error)
                break
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                why = f"the answer cannot be read: {error}"
                break
        return MetricError(f"unable to fetch metrics from {api}: {why}")


class _Collected:
    def __init__(self, now: float) -> None:
        self._now = now
        self.samples: dict[str, Sample] = {}
        self.fault = ""

    def pod(self, name: str, pod: _PodMetrics, metric: ResourceMetric) -> None:
        containers = [each for each in pod.containers if metric.container in ("", each.name)]
        if not containers or any(metric.name not in each.usage for each in containers):
            # Upstream too counts a pod of which a part is not known as one that is not.
            return
        values = [self._milli(name, each.usage[metric.name]) for each in containers]
        if None not in values:
            self._add(name, sum(filter(None, values)), pod.timestamp, _seconds(pod.window))

    def value(self, name: str, item: _Value) -> None:
        found = self._milli(name, item.value)
        if found is not None:
            self._add(name, found, item.timestamp, item.window_seconds or 60.0)

    def _milli(self, name: str, value: Any) -> int | None:
        try:
            found = quantity.parse(value).milli() if isinstance(value, str | int | float) else None
        except ValueError:
            found = None
        if found is None or found < 0:
            self.fault = self.fault or f"the value of {name} cannot be true: {value!r}"
            return None
        return found

    def _add(self, name: str, value: int, timestamp: str, window: float) -> None:
        try:
            at = seconds(timestamp) if timestamp else self._now
        except ValueError:
            at = -math.inf
        if self._now - at > _STALE:
            self.fault = self.fault or f"the value of {name} is too old: it was measured at {timestamp}"
            return
        self.samples[name] = Sample(value, at, window)


def _by_name(data: bytes) -> dict[str, _PodMetrics]:
    return {item.metadata.name: item for item in _pods.decode(data).items}


def _items(data: bytes) -> list[_Value]:
    return _values.decode(data).items


def _query(name: str, selector: LabelSelector | None) -> dict[str, str]:
    if selector is None:
        return {}
    try:
        return {name: str(from_object(msgspec.to_builtins(selector)))}
    except ValueError as error:
        raise MetricError(f"the metric's selector is not valid: {error}") from None


def _seconds(text: str) -> float:
    """Of a duration as Go writes it; what is none is no time."""
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    except ValueError:
        return 0.0
