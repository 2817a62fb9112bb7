"""One namespace of a cluster as a front door sees it: server-side apply, lists by label, deletion, nodes.

Every method raises ServerError or CliError as the transport does.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import Any

import orjson

from tiphys.cli.errors import ServerError
from tiphys.cli.transport import Query, Transport
from tiphys.stacks.objects import RESERVED_PORTS, Facts, dns_name

Json = dict[str, Any]
MANAGER = "tiphys-stack"
# In the order of creation.
PLURALS = {
    "Secret": ("/api/v1", "secrets"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "Service": ("/api/v1", "services"),
    "DaemonSet": ("/apis/apps/v1", "daemonsets"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "StatefulSet": ("/apis/apps/v1", "statefulsets"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Pod": ("/api/v1", "pods"),
}
WORKLOADS = ("Deployment", "DaemonSet", "StatefulSet", "Job")
_APPLY = "application/apply-patch+yaml"
# Where secrets and configs that a file calls external are looked for: those of Swarm are the whole cluster's.
EXTERNAL_NAMESPACE = "default"


class Live:
    """`namespace` "" reads across namespaces."""

    def __init__(self, transport: Transport, namespace: str) -> None:
        self.transport = transport
        self.namespace = namespace

    def path(self, kind: str, name: str = "") -> str:
        prefix, plural = PLURALS[kind]
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{prefix}{place}/{plural}" + (f"/{name}" if name else "")

    def list(self, kind: str, selector: str = "") -> list[Json]:
        answer = orjson.loads(self.transport.call("GET", self.path(kind), query={"labelSelector": selector}))
        return [{**item, "kind": kind} for item in answer.get("items") or ()]

    def get(self, kind: str, name: str) -> Json | None:
        return self._read(self.path(kind, name))

    def apply(self, obj: Json) -> Json:
        query: Query = {"fieldManager": MANAGER, "force": True}
        path = self.path(obj["kind"], obj["metadata"]["name"])
        try:
            answer = self.transport.call("PATCH", path, query=query, body=obj, content_type=_APPLY)
        except ServerError as error:
            raise error.when("applying", f"{obj['kind']}/{obj['metadata']['name']}") from None
        found: Json = orjson.loads(answer)
        return found

    def delete(self, kind: str, name: str) -> None:
        """Nothing happens if it is gone."""
        try:
            self.transport.call("DELETE", self.path(kind, name), body={"propagationPolicy": "Background"})
        except ServerError as error:
            if error.code != 404:
                raise

    def own_namespace(self) -> Json | None:
        return self._read(f"/api/v1/namespaces/{self.namespace}")

    def ensure_namespace(self, labels: Json) -> None:
        obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        query: Query = {"fieldManager": MANAGER, "force": True}
        path = f"/api/v1/namespaces/{self.namespace}"
        self.transport.call("PATCH", path, query=query, body=obj, content_type=_APPLY)

    def delete_namespace(self) -> None:
        self.transport.call("DELETE", f"/api/v1/namespaces/{self.namespace}", body={"propagationPolicy": "Background"})

    def facts(self, registry: bytes | None = None) -> Facts:
        answer = orjson.loads(self.transport.call("GET", "/api/v1/nodes"))
        given = [a for node in answer.get("items") or () for a in (node.get("status") or {}).get("addresses") or ()]
        addresses = [a["address"] for a in given if a["type"] == "InternalIP" and _is_ipv4(a["address"])]
        port = int(self.transport.url.rsplit(":", 1)[-1]) if self.transport.url.rsplit(":", 1)[-1].isdigit() else 443
        return Facts(tuple(sorted(set(addresses))), self._external, registry, RESERVED_PORTS | {port})

    def _external(self, kind: str, name: str) -> bytes | None:
        found = Live(self.transport, EXTERNAL_NAMESPACE).get(kind, dns_name(name))
        data = (found or {}).get("data") or {}
        keys = [key for key in data if key in (name, dns_name(name))] or list(data)
        if len(keys) != 1:
            return None
        value: str = data[keys[0]]
        return base64.b64decode(value) if kind == "Secret" else value.encode()

    def _read(self, path: str) -> Json | None:
        try:
            found: Json = orjson.loads(self.transport.call("GET", path))
        except ServerError as error:
            if error.code == 404:
                return None
            raise
        return found


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return False
