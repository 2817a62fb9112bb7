"""metrics.k8s.io: what nodes and pods use now, asked of the kubelets when somebody wants to know.

CPU is a rate, so two readings are needed: the last one of each node is kept, and where there is none young enough a
second is taken a moment later. Nothing is scraped while nobody asks.
Source: https://github.com/kubernetes/design-proposals-archive/blob/main/instrumentation/resource-metrics-api.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson

from tiphys.api import errors
from tiphys.api.http import Response
from tiphys.api.resource import Json, resource
from tiphys.api.selectors import EVERYTHING, LabelSelector, parse_labels
from tiphys.api.time import rfc3339, seconds
from tiphys.base.clock import Clock
from tiphys.server.app import ApiServer
from tiphys.server.call import Call

_GROUP, _VERSION = "metrics.k8s.io", "v1beta1"
_WINDOW = 1.0
_OLDEST = 60.0
# The node's name -> its /stats/summary.
Fetch = Callable[[str], Awaitable[Json]]


def _resource(kind: str, plural: str, *, namespaced: bool) -> Any:
    return resource(
        group=_GROUP, version=_VERSION, kind=kind, plural=plural, singular="", namespaced=namespaced, virtual=True,
        verbs=("get", "list"),
    )  # fmt: skip


def install(server: ApiServer, fetch: Fetch) -> None:
    api = _MetricsApi(server, fetch)
    server.registry.update(
        add=[_resource("NodeMetrics", "nodes", namespaced=False), _resource("PodMetrics", "pods", namespaced=True)]
    )
    server.extensions.reads[_GROUP, "nodes"] = api.nodes
    server.extensions.reads[_GROUP, "pods"] = api.pods


class _MetricsApi:
    def __init__(self, server: ApiServer, fetch: Fetch) -> None:
        self._server, self._readings = server, _Readings(fetch, server.clock)

    async def nodes(self, call: Call) -> Response:
        names = [entry.name for entry in self._chosen(call, "nodes", "/registry/core/nodes/")]
        items = [_node_metrics(old, new) for old, new in await self._readings.of(names)]
        return _answer(call, items)

    async def pods(self, call: Call) -> Response:
        pods = self._chosen(call, "pods", f"/registry/core/pods/{call.target.namespace}")
        wanted = {(pod.namespace, pod.name) for pod in pods}
        on = sorted({pod.field("spec.nodeName") for pod in pods} - {""})
        items = [
            item
            for old, new in await self._readings.of(on)
            for item in _pod_metrics(old, new)
            if (item["metadata"]["namespace"], item["metadata"]["name"]) in wanted
        ]
        return _answer(call, items)

    def _chosen(self, call: Call, plural: str, prefix: str) -> list[Any]:
        labels = call.request.param("labelSelector")
        try:
            selector: LabelSelector = parse_labels(labels) if labels else EVERYTHING
        except ValueError as error:
            raise errors.BadRequest(str(error)) from None
        collection = self._server.cache.of(f"/registry/core/{plural}/")
        name = call.target.name
        return [e for e in collection.scan(prefix) if name in ("", e.name) and selector.matches(e.labels)]


class _Readings:
    """The last reading of each node."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch, self._clock = fetch, clock
        self._last: dict[str, tuple[float, Json]] = {}

    async def of(self, nodes: list[str]) -> list[tuple[Json, Json]]:
        """(earlier, now) for each node that answers."""
        now = self._clock.monotonic()
        fresh = [name for name in nodes if not _WINDOW <= now - self._last.get(name, (-_OLDEST, {}))[0] < _OLDEST]
        if fresh:
            await asyncio.gather(*(self._read(name) for name in fresh))
            await self._clock.sleep(_WINDOW)
        before = {name: self._last[name][1] for name in nodes if name in self._last}
        after = await asyncio.gather(*(self._read(name) for name in nodes))
        return [(before[name], new) for name, new in zip(nodes, after, strict=True) if new and name in before]

    async def _read(self, name: str) -> Json | None:
        try:
            found = await self._fetch(name)
        except errors.ApiError:
            return None
        self._last[name] = (self._clock.monotonic(), found)
        return found


def _answer(call: Call, items: list[Json]) -> Response:
    kind, version = call.resource.kind, call.resource.api_version
    if call.target.name:
        if not items:
            raise errors.no_such(_GROUP, call.resource.plural, call.target.name)
        return Response(200, orjson.dumps({"kind": kind, "apiVersion": version, **items[0]}))
    return Response(200, orjson.dumps({"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": items}))


def _usage(old: Json, new: Json) -> Json:
    """CPU in nano-cores over the time between two readings, memory in use at the second."""
    cpu, before = new.get("cpu") or {}, old.get("cpu") or {}
    used = cpu.get("usageCoreNanoSeconds", 0) - before.get("usageCoreNanoSeconds", 0)
    span = seconds(cpu["time"]) - seconds(before["time"]) if cpu and before else 0.0
    rate = max(0, int(used / span)) if span > 0 else 0
    return {"cpu": f"{rate}n", "memory": f"{(new.get('memory') or {}).get('workingSetBytes', 0) // 1024}Ki"}


def _stamp(old: Json, new: Json) -> Json:
    now, before = (seconds(reading["node"]["cpu"]["time"]) for reading in (new, old))
    return {"timestamp": rfc3339(now), "window": f"{max(now - before, 0):.3f}s"}


def _node_metrics(old: Json, new: Json) -> Json:
    node = new["node"]
    return {"metadata": {"name": node["nodeName"]}, **_stamp(old, new), "usage": _usage(old["node"], node)}


def _pod_metrics(old: Json, new: Json) -> Iterator[Json]:
    known = {pod["podRef"]["uid"]: pod for pod in old.get("pods") or ()}
    for pod in new.get("pods") or ():
        before = {c["name"]: c for c in known.get(pod["podRef"]["uid"], {}).get("containers") or ()}
        containers = [
            {"name": container["name"], "usage": _usage(before.get(container["name"], {}), container)}
            for container in pod.get("containers") or ()
        ]
        reference = pod["podRef"]
        meta = {"name": reference["name"], "namespace": reference["namespace"]}
        yield {"metadata": meta, **_stamp(old, new), "containers": containers}
