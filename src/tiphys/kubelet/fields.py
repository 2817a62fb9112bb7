"""What a pod may know of itself: `fieldRef` and `resourceFieldRef`, for environment and downwardAPI files. Pure.

https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from tiphys.api import quantity
from tiphys.kinds.core.container import Container, ResourceFieldSelector
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.resources import amount

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


class BadField(Exception):
    """The pod asks for a field that there is not; the message names it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known besides the spec; `allocatable` is the node's, for limits that are not set."""

    node_name: str = ""
    host_ips: tuple[str, ...] = ()
    pod_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)


def _map_file(table: Mapping[str, str]) -> str:
    """A label map as a downwardAPI file shows it: sorted, one quoted pair a line."""
    return "\n".join(f"{key}={orjson.dumps(value).decode()}" for key, value in sorted(table.items()))


def field_value(pod: Pod, path: str, facts: Facts) -> str:
    """The value of a `fieldRef`. Raises BadField."""
    meta = pod.metadata
    match = _SUBSCRIPT.fullmatch(path)
    if match:
        return (meta.labels if match[1] == "labels" else meta.annotations).get(match[2], "")
    values = {
        "metadata.name": meta.name, "metadata.namespace": meta.namespace, "metadata.uid": meta.uid,
        "spec.nodeName": facts.node_name, "spec.serviceAccountName": pod.spec.service_account_name,
        "status.hostIP": facts.host_ips[0] if facts.host_ips else "", "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "", "status.podIPs": ",".join(facts.pod_ips),
    }  # fmt: skip
    if path in values:
        return values[path]
    if path == "metadata.labels":
        return _map_file(meta.labels)
    if path == "metadata.annotations":
        return _map_file(meta.annotations)
    raise BadField(f"unsupported fieldPath: {path}")


def resource_value(pod: Pod, ref: ResourceFieldSelector, container: Container | None, facts: Facts) -> str:
    """The value of a `resourceFieldRef`, in units of its divisor, rounded up. Raises BadField."""
    if ref.container_name:
        named = (c for c in pod.spec.all_containers() if c.name == ref.container_name)
        container = next(named, None)
    if container is None:
        raise BadField(f"resourceFieldRef {ref.resource}: no container {ref.container_name!r} in the pod")
    kind, _, name = ref.resource.partition(".")
    if kind not in ("limits", "requests") or not name:
        raise BadField(f"unsupported container resource: {ref.resource}")
    found = amount(container.resources.limits if kind == "limits" else container.resources.requests, name)
    if not found and kind == "limits":
        found = amount(facts.allocatable, name)
    divisor = quantity.parse(ref.divisor or "0") or quantity.of(1)
    return str(-(-found.nanos // divisor.nanos))
