"""The scale subresource: autoscaling/v1 Scale over whatever a kind's ScalePaths point to.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api import errors, patch
from tiphys.api.http import APPLY_PATCH, JSON_PATCH, Response
from tiphys.api.resource import Json, ScalePaths
from tiphys.api.selectors import from_object
from tiphys.server import objects
from tiphys.server.admission.chain import Shape
from tiphys.server.app import ApiServer
from tiphys.server.call import Call
from tiphys.server.changes import Change

_API = "autoscaling/v1"


def install(server: ApiServer) -> None:
    async def scale(call: Call) -> Response:
        if call.target.verb == "get":
            entry = await server.reads.entry(call)
            return Response(200, orjson.dumps(_scale_of(call, entry.decode())))
        if call.target.verb not in ("update", "patch"):
            raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
        answer = await server.writes.modify(call, _SetReplicas(call))
        return Response(200, orjson.dumps(_scale_of(call, orjson.loads(answer.body))))

    server.extensions.subresources["", "*", "scale"] = scale


class _SetReplicas(Change):
    def __init__(self, call: Call) -> None:
        media = call.request.headers.get("content-type", "")
        self._body = objects.parse(call.request.body, media)
        self._media = media.split(";", 1)[0].strip() if call.target.verb == "patch" else ""
        meta = self._body.get("metadata") if isinstance(self._body, dict) else None
        self.conditional = bool((meta or {}).get("resourceVersion"))

    def apply(self, call: Call, current: Json) -> Json:
        scale = self._wanted(_scale_of(call, current))
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or isinstance(replicas, bool):
            raise errors.BadRequest(f"spec.replicas: {replicas!r} is not an integer")
        if replicas < 0:
            problem = errors.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid_object("autoscaling", "Scale", call.target.name, [problem])
        new: Json = orjson.loads(orjson.dumps(current))
        version = (scale.get("metadata") or {}).get("resourceVersion")
        if self.conditional and version:
            new["metadata"]["resourceVersion"] = version
        assert call.resource.scale is not None
        _put(new, call.resource.scale.spec_replicas, replicas)
        return new

    def shape(self, call: Call) -> Shape:
        return _Scale(call)

    def _wanted(self, current: Json) -> Json:
        if self._media == JSON_PATCH:
            wanted = patch.json_patch(current, self._body)
        elif self._media and self._media != APPLY_PATCH:
            wanted = patch.merge_patch(current, self._body)
        else:
            wanted = self._body
        if not isinstance(wanted, dict):
            raise errors.BadRequest("a Scale must be a JSON object")
        return wanted


class _Scale:
    """Admission of a scale is about the Scale."""

    kind = ("autoscaling", "v1", "Scale")

    def __init__(self, call: Call) -> None:
        self._call = call

    def show(self, obj: Json) -> Json:
        return _scale_of(self._call, obj)

    def take(self, obj: Json, shown: Json) -> None:
        paths = self._call.resource.scale
        assert paths is not None, "the router asks only where there are scale paths"
        replicas = (shown.get("spec") or {}).get("replicas", 0)
        if type(replicas) is not int or replicas < 0:
            raise errors.InternalError(f"Internal error occurred: admission left no number of replicas: {replicas!r}")
        _put(obj, paths.spec_replicas, replicas)


def _scale_of(call: Call, obj: Json) -> Json:
    paths = call.resource.scale
    assert paths is not None, "the router asks only where there are scale paths"
    meta = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Json = {"replicas": _get(obj, paths.status_replicas) or 0}
    selector = _selector(obj, paths)
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale", "apiVersion": _API, "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": {"replicas": _get(obj, paths.spec_replicas) or 0}, "status": status,
    }  # fmt: skip


def _selector(obj: Json, paths: ScalePaths) -> str:
    value = _get(obj, paths.selector)
    if isinstance(value, dict) and ("matchLabels" in value or "matchExpressions" in value):
        return str(from_object(value))
    if isinstance(value, dict):
        return ",".join(f"{key}={value[key]}" for key in sorted(value))
    return value or ""


def _get(obj: Json, path: str) -> Any:
    value: Any = obj
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, dict) else None
    return value if path else None


def _put(obj: Json, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        obj = obj.setdefault(name, {})
    obj[last] = value
