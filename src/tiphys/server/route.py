"""From a URL to what is asked: upstream's RequestInfo.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
"""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.api.http import Request

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}
# Subresources of a namespace object; everything else after the namespace is a resource inside it.
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})


@dataclass(slots=True)
class Target:
    """`resource` is empty for URLs that are not of the resource API; then only `path` and `verb` (the method) count."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    # What follows a subresource, as in .../proxy/metrics.
    tail: str = ""
    # The label selector that a list or watch is confined to.
    labels: str = ""

    @property
    def is_resource(self) -> bool:
        return bool(self.resource)


def target_of(request: Request) -> Target:
    """Split the path and name the verb as authorization sees it."""
    parts = request.path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Target(request.method.lower(), request.path)
    target = Target("", request.path, group, version)
    if rest[0] == "watch" and len(rest) > 1:
        # The deprecated prefix form of watching; clients of old still send it.
        rest = rest[1:]
        target.verb = "watch"
    if (rest[0] == "namespaces" and not group and len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES) or (
        rest[0] == "namespaces" and group and len(rest) > 2
    ):
        target.namespace, rest = rest[1], rest[2:]
    target.resource = rest[0]
    target.name = rest[1] if len(rest) > 1 else ""
    target.subresource = rest[2] if len(rest) > 2 else ""
    target.tail = "/".join(rest[3:])
    if not group and target.resource == "namespaces" and target.name:
        target.namespace = target.name
    target.verb = target.verb or _verb(request, target)
    if target.verb in ("list", "watch") and not target.name:
        target.name, target.labels = _selected_name(request), request.param("labelSelector")
    return target


def _selected_name(request: Request) -> str:
    """The one name that a list or watch is confined to: rights on a named object suffice for it."""
    for term in request.param("fieldSelector").split(","):
        field, _, value = term.partition("=")
        if field == "metadata.name" and value:
            return value.removeprefix("=")
    return ""


def _verb(request: Request, target: Target) -> str:
    if target.name and not target.subresource and request.method == "GET" and request.flag("watch"):
        return "watch"
    verb = _VERBS.get(request.method, request.method.lower())
    if target.name:
        return verb
    if verb == "get":
        return "watch" if request.flag("watch") else "list"
    return "deletecollection" if verb == "delete" else verb
