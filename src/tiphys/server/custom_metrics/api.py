"""The custom and external metrics APIs over scraped pods. Where an APIService stands for the group, that one answers.

A metric is a series by its name, a counter as its rate a second; `NAME_total` is also known as `NAME` and as
`NAME_per_second`, as prometheus-adapter would call it. Of an object it is the sum of the series that bear the object's
name in a label of its kind's name, or of the pods that a Service selects. A sum of which a part is not known is none.
Source: https://github.com/kubernetes/metrics/tree/master/pkg/apis/custom_metrics
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from tiphys.api import errors, quantity
from tiphys.api.http import Request, Response
from tiphys.api.resource import Json
from tiphys.api.selectors import EVERYTHING, LabelSelector, of_labels, parse_labels
from tiphys.api.time import rfc3339
from tiphys.server.app import ApiServer
from tiphys.server.cache import Entry
from tiphys.server.custom_metrics.exposition import Series
from tiphys.server.custom_metrics.scrape import Fetch, Scraper, url_of
from tiphys.server.discovery import Offer, aggregated
from tiphys.server.route import Target

CUSTOM, EXTERNAL = "custom.metrics.k8s.io", "external.metrics.k8s.io"
_VERSIONS = {CUSTOM: ("v1beta2", "v1beta1"), EXTERNAL: ("v1beta1",)}
_PER_SECOND = "_per_second"
# What metrics there are only the pods know; these stand for all of them, since a group without resources looks broken.
_LISTED: dict[str, list[Json]] = {
    CUSTOM: [
        {"name": f"{plural}/*", "singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
        for plural in ("pods", "services")
    ],
    EXTERNAL: [
        {
            "name": "externalmetrics", "singularName": "", "namespaced": True, "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
    ],
}  # fmt: skip


def install(server: ApiServer, fetch: Fetch) -> None:
    """`fetch` asks a pod."""
    api = _Api(server, Scraper(fetch, server.clock))
    theirs = server.discovery.remote
    own = [
        Offer(group, version, 100, aggregated(_LISTED[group], group, version), current=True)
        for group, versions in _VERSIONS.items()
        for version in versions
    ]

    def offers() -> Sequence[Offer]:
        return [*theirs(), *(offer for offer in own if not taken(offer.group))]

    def taken(group: str) -> bool:
        return any(offer.group == group for offer in theirs())

    async def answer(request: Request, target: Target) -> Response:
        if target.version not in _VERSIONS[target.group] or taken(target.group):
            raise errors.NotFound("the server could not find the requested resource")
        if request.method != "GET":
            raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
        return await (api.custom if target.group == CUSTOM else api.external)(request, target)

    async def resources(request: Request) -> Response:
        _, _, group, version = request.path.rstrip("/").split("/")
        if taken(group):
            raise errors.NotFound("the server could not find the requested resource")
        name = f"{group}/{version}"
        listed = {"groupVersion": name, "resources": _LISTED[group]}
        document = {"kind": "APIResourceList", "apiVersion": "v1", **listed}
        return Response(200, orjson.dumps(document))

    server.discovery.remote = offers
    for group, versions in _VERSIONS.items():
        server.extensions.groups[group] = answer
        for version in versions:
            server.extensions.pages[f"/apis/{group}/{version}"] = resources


class _Api:
    def __init__(self, server: ApiServer, scraper: Scraper) -> None:
        self._server, self._scraper = server, scraper

    async def custom(self, request: Request, target: Target) -> Response:
        selector = _selector(request, "metricLabelSelector")
        metric = target.subresource
        if target.resource == "metrics" and target.namespace and target.name and not metric:
            metric, about = target.name, {"kind": "Namespace", "name": target.namespace, "apiVersion": "v1"}
            total = await self._sum(self._scraped(target.namespace), metric, selector)
        elif not target.name or not metric or target.tail:
            raise errors.NotFound("name an object, or * for pods, and a metric of it")
        elif target.resource == "pods" and target.namespace:
            return await self._pods(request, target, metric, selector)
        else:
            about, total = await self._object(target, metric, selector)
        return _listed(target, [_value(target, about, metric, total, self._server.clock.time())])

    async def external(self, request: Request, target: Target) -> Response:
        """`target.resource` is the name of the metric."""
        selector, now = _selector(request, "labelSelector"), self._server.clock.time()
        total = await self._sum(self._scraped(target.namespace), target.resource, selector)
        item = {"metricName": target.resource, "metricLabels": {}, "timestamp": rfc3339(now), "value": _shown(total)}
        return _listed(target, [item])

    async def _pods(self, request: Request, target: Target, metric: str, selector: LabelSelector) -> Response:
        labels = _selector(request, "labelSelector")
        pods = [
            (entry, url)
            for entry, url in self._scraped(target.namespace)
            if (target.name in ("*", entry.name)) and labels.matches(entry.labels)
        ]
        found = await self._scraper.of([url for _, url in pods], _names(metric))
        items, now = [], self._server.clock.time()
        for entry, url in pods:
            value = _total(found[url] or (), metric, selector)
            # A pod that tells nothing, or no number, is one without metrics.
            if value is not None and math.isfinite(value):
                about = {"kind": "Pod", "namespace": entry.namespace, "name": entry.name, "apiVersion": "/v1"}
                items.append(_value(target, about, metric, value, now))
        if not items:
            raise _unknown(metric, "pods")
        return _listed(target, items)

    async def _object(self, target: Target, metric: str, selector: LabelSelector) -> tuple[Json, float]:
        plural, _, group = target.resource.partition(".")
        resource = next((r for r in self._server.registry if (r.group, r.plural) == (group, plural)), None)
        if resource is None:
            raise errors.NotFound(f"there is no resource {target.resource}")
        about = {"kind": resource.kind, "name": target.name, "apiVersion": resource.api_version}
        if target.namespace:
            about["namespace"] = target.namespace
        label, pods = resource.kind.lower(), self._scraped(target.namespace)
        try:
            return about, await self._sum(pods, metric, selector, (label, target.name))
        except errors.NotFound:
            if (group, plural) != ("", "services"):
                raise
        services = self._server.cache.of("/registry/core/services/").items
        service = services.get(f"/registry/core/services/{target.namespace}/{target.name}")
        chosen = (service.decode()["spec"].get("selector") or {}) if service is not None else {}
        if not chosen:
            raise errors.no_such("", "services", target.name)
        selects = of_labels(chosen)
        return about, await self._sum([pod for pod in pods if selects.matches(pod[0].labels)], metric, selector)

    def _scraped(self, namespace: str) -> list[tuple[Entry, str]]:
        """The running pods of a namespace that tell metrics, and where."""
        collection = self._server.cache.of("/registry/core/pods/")
        found = []
        for entry in collection.scan(f"/registry/core/pods/{namespace}/" if namespace else "/registry/core/pods/"):
            pod = entry.decode()
            if (pod.get("status") or {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp"):
                url = url_of(pod)
                if url:
                    found.append((entry, url))
        return found

    async def _sum(
        self, pods: Sequence[tuple[Entry, str]], metric: str, selector: LabelSelector,
        bearing: tuple[str, str] | None = None,
    ) -> float:  # fmt: skip
        """Over all pods; `bearing` is a label that series must have. Raises NotFound, ServiceUnavailable."""
        found = await self._scraper.of([url for _, url in pods], _names(metric))
        total, known = 0.0, False
        for entry, url in pods:
            series = found[url]
            if series is None:
                if _ready(entry.decode()):
                    raise errors.ServiceUnavailable(f"pod {entry.name} does not tell its metrics at {url}")
                continue
            if bearing is not None:
                series = [each for each in series if each.labels.get(bearing[0]) == bearing[1]]
            value = _total(series, metric, selector)
            if value is not None:
                total, known = total + value, True
        if not known:
            raise _unknown(metric, bearing[0] if bearing else "pods")
        if not math.isfinite(total):
            raise errors.ServiceUnavailable(f"metric {metric} has a value that is no number: {total}")
        return total


def _names(metric: str) -> list[str]:
    """The series that a metric may be, best first."""
    base = metric.removesuffix(_PER_SECOND)
    return list(dict.fromkeys([metric, f"{metric}_total", f"{base}_total", base]))


def _total(series: Iterable[Series], metric: str, selector: LabelSelector) -> float | None:
    by_name: dict[str, float] = {}
    for each in series:
        if selector.matches(each.labels):
            by_name[each.name] = by_name.get(each.name, 0.0) + each.value
    return next((by_name[name] for name in _names(metric) if name in by_name), None)


def _unknown(metric: str, about: str) -> errors.NotFound:
    return errors.NotFound(f"the server could not find the metric {metric} for {about}")


def _ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _selector(request: Request, name: str) -> LabelSelector:
    text = request.param(name)
    try:
        return parse_labels(text) if text else EVERYTHING
    except ValueError as error:
        raise errors.BadRequest(f"{name}: {error}") from None


def _value(target: Target, about: Json, metric: str, value: float, now: float) -> Json:
    which: Json = {"metricName": metric} if target.version == "v1beta1" else {"metric": {"name": metric}}
    return {"describedObject": about, **which, "timestamp": rfc3339(now), "value": _shown(value)}


def _shown(value: float) -> str:
    return str(quantity.of_milli(round(value * 1000)))


def _listed(target: Target, items: list[Any]) -> Response:
    kind = "MetricValueList" if target.group == CUSTOM else "ExternalMetricValueList"
    body = {"kind": kind, "apiVersion": f"{target.group}/{target.version}", "metadata": {}, "items": items}
    return Response(200, orjson.dumps(body))
