"""metrics.k8s.io: what nodes and pods use now, asked of the kubelets when somebody wants to know.

CPU is a rate, so two readings are needed: the last two of each node are kept, and where there is none young enough a
second is taken a moment later. Nothing is scraped while nobody asks; a reading serves all who ask within a second.
Source: https://github.com/kubernetes/design-proposals-archive/blob/main/instrumentation/resource-metrics-api.md
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Node:
    """What is known of one node: the times are of the clock, -inf where there is no reading."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    before: Json | None = None
    last: Json | None = None
    at: float = -math.inf


class _Readings:
    """The last two readings of each node."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch, self._clock = fetch, clock
        self._nodes: dict[str, _Node] = {}

    async def of(self, nodes: list[str]) -> list[tuple[Json, Json]]:
        """(earlier, now) for each node that answers."""
        now = self._clock.monotonic()
        for name in [name for name, node in self._nodes.items() if _OLDEST < now - node.at < math.inf]:
            del self._nodes[name]
        pairs = await asyncio.gather(*(self._pair(self._nodes.setdefault(name, _Node()), name) for name in nodes))
        return [pair for pair in pairs if pair is not None]

    async def _pair(self, node: _Node, name: str) -> tuple[Json, Json] | None:
        async with node.lock:
            age = self._clock.monotonic() - node.at
            if node.before is None or age >= _WINDOW:
                if node.last is None or age > _OLDEST:
                    node.last = None
                    if not await self._read(node, name):
                        return None
                    age = 0.0
                if age < _WINDOW:
                    await self._clock.sleep(_WINDOW - age)
                if not await self._read(node, name):
                    return None
            return (node.before, node.last) if node.before is not None and node.last is not None else None

    async def _read(self, node: _Node, name: str) -> bool:
        try:
            found = await self._fetch(name)
        except errors.ApiError:
            return False
        node.before, node.last, node.at = node.last, found, self._clock.monotonic()
        return True


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
