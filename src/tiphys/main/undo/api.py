"""The cluster as it is now: read, and changed step by step."""

from __future__ import annotations

import time

import orjson

from tiphys.api.resource import Json
from tiphys.cli.config import Connection, load
from tiphys.cli.discovery import Discovery, Resource
from tiphys.cli.errors import CliError, ServerError
from tiphys.cli.transport import Http
from tiphys.main.cluster import Cluster, ClusterError
from tiphys.main.undo.plan import CREATE, RESTORE, Step

_SECONDS, _PAUSE = 30.0, 0.1


class Api:
    def __init__(self, cluster: Cluster) -> None:
        self._transport = Http(Connection(load(str(cluster.kubeconfig)), {"context": cluster.name}))
        self._discovery = Discovery(self._transport)

    def find(self, kind: str) -> Resource:
        """The resource that a word means. Raises ClusterError."""
        try:
            return self._discovery.find(kind)
        except CliError as error:
            raise ClusterError(str(error)) from None

    def resource_of(self, obj: Json) -> Resource:
        try:
            return self._discovery.of_kind(obj["apiVersion"], obj["kind"])
        except CliError as error:
            raise ClusterError(str(error)) from None

    def get(self, obj: Json) -> Json | None:
        """What there is now under the name of an object."""
        meta = obj["metadata"]
        try:
            path = self.resource_of(obj).path(meta.get("namespace", ""), meta["name"])
            found: Json = orjson.loads(self._transport.call("GET", path))
        except ServerError as error:
            if error.code == 404:
                return None
            raise
        return found

    def run(self, step: Step) -> None:
        """Raises ServerError with what the server says."""
        resource, meta = self.resource_of(step.obj), step.obj["metadata"]
        collection = resource.path(meta.get("namespace", ""))
        if step.action == CREATE:
            self._create(collection, step.obj)
        elif step.action == RESTORE:
            self._transport.call("PUT", resource.path(meta.get("namespace", ""), meta["name"]), body=step.obj)
        else:
            options = {"propagationPolicy": "Background", "preconditions": {"uid": meta["uid"]}}
            self._transport.call("DELETE", resource.path(meta.get("namespace", ""), meta["name"]), body=options)

    def _create(self, collection: str, obj: Json) -> None:
        try:
            self._transport.call("POST", collection, body=obj)
        except ServerError as error:
            if error.code != 422 or obj["kind"] != "Service":
                raise
            # Its addresses may be somebody else's by now.
            self._transport.call("POST", collection, body=_without_addresses(obj))

    def ensure_namespace(self, name: str, then: Json | None) -> bool:
        """Make a namespace that is gone as it was; whether it was. Raises ClusterError while it is still going."""
        obj = then or {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        found = self.get(obj)
        deadline = time.monotonic() + _SECONDS
        while found is not None and found["metadata"].get("deletionTimestamp"):
            if time.monotonic() > deadline:
                raise ClusterError(f"namespace {name!r} is still being deleted; try again when it is gone")
            time.sleep(_PAUSE)
            found = self.get(obj)
        if found is not None:
            return False
        self._transport.call("POST", "/api/v1/namespaces", body={**obj, "spec": {}})
        return True


def _without_addresses(service: Json) -> Json:
    spec = {name: value for name, value in service["spec"].items() if name not in ("clusterIP", "clusterIPs")}
    spec["ports"] = [{n: v for n, v in port.items() if n != "nodePort"} for port in spec.get("ports") or ()]
    return {**service, "spec": spec}
