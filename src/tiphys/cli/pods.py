"""From what a user names to a pod: `NAME`, `pod/NAME`, or a workload or Service, whose first running pod is meant."""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.cli.command import Call
from tiphys.cli.errors import CliError

Json = dict[str, Any]
_DEFAULT = "kubectl.kubernetes.io/default-container"


def find(call: Call, word: str) -> Json:
    """The pod, as an object. Raises CliError and ServerError."""
    kind, slash, name = word.partition("/")
    if not slash:
        kind, name = "pods", word
    resource = call.discovery.find(kind)
    path = resource.path(call.namespace, name)
    obj: Json = orjson.loads(call.transport.call("GET", path))
    if resource.plural == "pods":
        return obj
    found = selected(call, selector_of(obj, word))
    if not found:
        raise CliError(f"no pods found for {word}")
    return next((pod for pod in found if (pod.get("status") or {}).get("phase") == "Running"), found[0])


def selector_of(obj: Json, word: str) -> str:
    """The label query of a workload or Service. Raises CliError for what selects no pods."""
    selector = (obj.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels", selector if "matchExpressions" not in selector else {})
    if not labels:
        raise CliError(f"{word} selects no pods")
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def selected(call: Call, query: str) -> list[Json]:
    path = f"/api/v1/namespaces/{call.namespace}/pods"
    items: list[Json] = orjson.loads(call.transport.call("GET", path, query={"labelSelector": query}))["items"]
    return items


def path_of(pod: Json, subresource: str) -> str:
    meta = pod["metadata"]
    return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/{subresource}"


def containers(pod: Json, *, every: bool = False) -> list[str]:
    """Names of the pod's containers; `every` adds init and ephemeral ones."""
    fields = ("initContainers", "containers", "ephemeralContainers") if every else ("containers",)
    return [container["name"] for field in fields for container in pod["spec"].get(field) or ()]


def default_container(pod: Json) -> str:
    names = containers(pod)
    named = (pod["metadata"].get("annotations") or {}).get(_DEFAULT, "")
    return named if named in containers(pod, every=True) else names[0]
