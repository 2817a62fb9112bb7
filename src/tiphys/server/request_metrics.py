"""What the server counts of its requests and its store, under upstream's names.

Labels come from the registry, never from what a client typed: asking for things that are not there makes no new series.
Source: https://kubernetes.io/docs/reference/instrumentation/metrics/
"""

from __future__ import annotations

from tiphys.api.http import APPLY_PATCH, Request
from tiphys.api.registry import Registry
from tiphys.base.metrics import Counter, Gauge, Histogram
from tiphys.server.cache import Cache
from tiphys.server.route import Target

_WHAT = ("group", "version", "resource", "subresource", "scope", "component")
_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_REQUESTS = Counter(
    "apiserver_request_total", "Requests by verb, what they were about, and code.", ("verb", "dry_run", *_WHAT, "code")
)
_SECONDS = Histogram(
    "apiserver_request_duration_seconds", "Time from request to answer.", ("verb", "dry_run", *_WHAT), buckets=_BUCKETS
)
_INFLIGHT = Gauge(
    "apiserver_current_inflight_requests", "Requests that are worked on now, watches not counted.", ("request_kind",)
)
_WATCHES = Gauge("apiserver_longrunning_requests", "Watches that are open now.", ("verb", *_WHAT))
_OBJECTS = Gauge("apiserver_resource_objects", "Objects in the store.", ("group", "resource"))
_STORE = Histogram(
    "etcd_request_duration_seconds", "Time that the store took for a write.", ("operation", "type"),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
_VERBS = {
    "create": "POST", "update": "PUT", "patch": "PATCH", "get": "GET", "list": "LIST", "watch": "WATCH",
    "delete": "DELETE", "deletecollection": "DELETECOLLECTION",
}  # fmt: skip
_MUTATING = frozenset(("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"))
_SUBRESOURCES = frozenset((
    "", "status", "scale", "log", "exec", "attach", "portforward", "proxy", "binding", "eviction", "token", "approval",
    "finalize", "ephemeralcontainers", "resize",
))  # fmt: skip

What = tuple[str, ...]


class RequestMetrics:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def begin(self, request: Request, target: Target) -> tuple[str, str]:
        """The verb and the kind of request, which `end` wants back."""
        verb = _VERBS.get(target.verb, "GET" if target.verb in ("get", "head") else "other")
        if verb == "PATCH" and request.headers.get("content-type", "").startswith(APPLY_PATCH):
            verb = "APPLY"
        kind = "mutating" if verb in _MUTATING else "readOnly"
        _INFLIGHT.inc(kind)
        return verb, kind

    def end(self, begun: tuple[str, str], request: Request, target: Target, outcome: tuple[int, float]) -> None:
        """Count a request by its `outcome`: HTTP code, and seconds that it took."""
        verb, kind = begun
        code, seconds = outcome
        _INFLIGHT.inc(kind, by=-1)
        dry = "All" if kind == "mutating" and "dryRun" in request.query else ""
        what = self.what(target)
        _REQUESTS.inc(verb, dry, *what, str(code))
        if verb != "WATCH":
            _SECONDS.observe(seconds, verb, dry, *what)

    def what(self, target: Target) -> What:
        if self._registry.get(target.group, target.version, target.resource) is None:
            return ("", "", "", "", "", "apiserver")
        scope = "resource" if target.name else "namespace" if target.namespace else "cluster"
        subresource = target.subresource if target.subresource in _SUBRESOURCES else ""
        return (target.group, target.version, target.resource, subresource, scope, "apiserver")

    def watching(self, target: Target, by: int) -> None:
        _WATCHES.inc("WATCH", *self.what(target), by=by)

    def count_objects(self, cache: Cache) -> None:
        """Set the numbers of stored objects, for a scrape."""
        for resource in self._registry:
            if resource.hub is None and not resource.virtual:
                _OBJECTS.set(len(cache.of(resource.prefix).items), resource.group, resource.plural)


def stored(operation: str, resource: str, seconds: float) -> None:
    """Note a write of the store: create, update or delete of an object of `resource`."""
    _STORE.observe(seconds, operation, resource)
