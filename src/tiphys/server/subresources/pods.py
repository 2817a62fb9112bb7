"""What a pod has besides its status: binding, eviction, ephemeral containers and resize.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/ and the Pod API reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson

from tiphys.api import check, errors, facts, names
from tiphys.api.http import Request, Response
from tiphys.api.resource import Json
from tiphys.api.selectors import from_object
from tiphys.api.time import rfc3339
from tiphys.server import objects
from tiphys.server.app import ApiServer
from tiphys.server.call import Call
from tiphys.server.changes import Change, changer

_SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_BINDING = "io.k8s.api.core.v1.Binding"
_BUDGETS = "/registry/policy/poddisruptionbudgets/"
_TERMINAL = ("Succeeded", "Failed")


def install(server: ApiServer) -> None:
    table = server.extensions.subresources

    async def binding(call: Call) -> Response:
        return await bind(server, call, _body(call))

    async def create_binding(call: Call) -> Response:
        body = _body(call)
        pod = server.as_other(call, "pods", (body.get("metadata") or {}).get("name", ""))
        pod.target.subresource = "binding"
        return await bind(server, pod, body)

    async def evict(call: Call) -> Response:
        return await _Eviction(server, call, _body(call)).run()

    async def confined(call: Call) -> Response:
        if call.target.verb == "get":
            return await server.reads.get(call)
        if call.target.verb not in ("update", "patch"):
            raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
        new = objects.decode_object(call, call.request.body) if call.target.verb == "update" else None
        return await server.writes.modify(call, _Confined(changer(call, new)))

    table["", "pods", "binding"] = binding
    table["", "pods", "eviction"] = evict
    table["", "pods", "ephemeralcontainers"] = confined
    table["", "pods", "resize"] = confined
    server.extensions.creates["", "bindings"] = create_binding


def _body(call: Call) -> Json:
    if call.target.verb != "create":
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    body = objects.parse(call.request.body, call.request.headers.get("content-type", ""))
    if not isinstance(body, dict):
        raise errors.BadRequest("a JSON object is needed")
    body["metadata"] = body.get("metadata") or {}
    return body


class _Bind(Change):
    """Writes spec.nodeName and the condition at once."""

    sound = True

    def __init__(self, node: str, body: Json, now: str) -> None:
        self._node, self._meta, self._now = node, body.get("metadata") or {}, now

    def apply(self, call: Call, current: Json) -> Json:
        spec, status = current["spec"], current.setdefault("status", {})
        name = current["metadata"]["name"]
        if current["metadata"].get("deletionTimestamp"):
            raise errors.conflict(
                "", "pods/binding", name, f"pod {name} is being deleted, cannot be assigned to a host"
            )
        if spec.get("nodeName"):
            raise errors.conflict(
                "", "pods/binding", name, f'pod {name} is already assigned to node "{spec["nodeName"]}"'
            )
        if spec.get("schedulingGates"):
            raise errors.conflict("", "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates")
        uid = self._meta.get("uid")
        if uid and uid != current["metadata"]["uid"]:
            raise errors.conflict("", "pods/binding", name, f"Precondition failed: UID in precondition: {uid}")
        spec["nodeName"] = self._node
        current["metadata"]["generation"] = current["metadata"].get("generation", 0) + 1
        for field in ("annotations", "labels"):
            if self._meta.get(field):
                current["metadata"].setdefault(field, {}).update(self._meta[field])
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": self._now}
        others = [c for c in status.get("conditions") or () if c.get("type") != "PodScheduled"]
        status["conditions"] = [*others, scheduled]
        return current


async def bind(server: ApiServer, call: Call, body: Json) -> Response:
    if schema := facts.schema(_BINDING):
        check.decode(schema, body)
    await server.writes.admit_body(call, body)
    problems = list(_check_binding(body))
    if problems:
        raise errors.invalid_object("", "Binding", call.target.name, problems)
    await server.writes.modify(call, _Bind(body["target"]["name"], body, rfc3339(call.now)))
    return Response(201, orjson.dumps(_SUCCESS))


def _check_binding(body: Json) -> Iterator[errors.FieldError]:
    """What is wrong, also with the labels and annotations that the pod will take over."""
    target, meta = body.get("target") or {}, body["metadata"]
    if not target.get("name"):
        yield errors.required("target.name")
    if target.get("kind") not in (None, "", "Node"):
        yield errors.not_supported("target.kind", target.get("kind"), ["Node", "<empty>"])
    yield from names.validate_labels(meta.get("labels") or {}, "metadata.labels")
    yield from names.validate_annotations(meta.get("annotations") or {}, "metadata.annotations")


class _Confined(Change):
    """Ephemeral containers and resize change nothing but their own part of the spec."""

    def __init__(self, inner: Change) -> None:
        self._inner = inner
        self.conditional, self.manages = inner.conditional, inner.manages

    def apply(self, call: Call, current: Json) -> Json:
        return self._inner.apply(call, current)

    def confine(self, call: Call, new: Json, old: Json) -> None:
        wanted: Any = new.get("spec") or {}
        spec = orjson.loads(orjson.dumps(old["spec"]))
        if call.target.subresource == "ephemeralcontainers":
            spec["ephemeralContainers"] = wanted.get("ephemeralContainers") or []
        else:
            _resize(wanted, spec)
        managed = new["metadata"].get("managedFields")
        new.clear()
        new.update(orjson.loads(orjson.dumps(old)))
        new["spec"] = spec
        if managed is not None:
            new["metadata"]["managedFields"] = managed


def _resize(wanted: Json, spec: Json) -> None:
    for field in ("containers", "initContainers"):
        sizes = {c.get("name"): c for c in wanted.get(field) or ()}
        for container in spec.get(field) or ():
            new = sizes.get(container["name"])
            if new is not None:
                container["resources"] = new.get("resources") or {}
                if "resizePolicy" in new:
                    container["resizePolicy"] = new["resizePolicy"]


class _Eviction:
    """Delete a pod if every PodDisruptionBudget that covers it allows one more disruption."""

    def __init__(self, server: ApiServer, call: Call, body: Json) -> None:
        self._server, self._call, self._body = server, call, body

    async def run(self) -> Response:
        await self._server.writes.admit_body(self._call, self._body)
        pod = (await self._server.reads.entry(self._call)).decode()
        options = self._body.get("deleteOptions") or {}
        dry_run = self._call.dry_run or "All" in (options.get("dryRun") or ())
        if not _needs_no_budget(pod):
            await self._spend(pod, dry_run)
        if not dry_run and pod["status"].get("phase") not in _TERMINAL:
            status = replace(self._call, target=replace(self._call.target, subresource="status"))
            await self._server.writes.modify(status, _Mark(rfc3339(self._call.now)))
        target = replace(self._call.target, subresource="", verb="delete")
        query = {"dryRun": ["All"]} if dry_run else {}
        request = Request("DELETE", self._call.target.path, query, self._call.request.headers, orjson.dumps(options))
        await self._server.deletion.delete(replace(self._call, target=target, request=request), admitted=True)
        return Response(201, orjson.dumps(_SUCCESS))

    async def _spend(self, pod: Json, dry_run: bool) -> None:
        meta = pod["metadata"]
        entries = [
            entry
            for entry in self._server.cache.of(_BUDGETS).scan(f"{_BUDGETS}{meta['namespace']}/")
            if from_object((entry.decode().get("spec") or {}).get("selector")).matches(meta.get("labels") or {})
        ]
        if len(entries) > 1:
            raise errors.InternalError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            )
        if entries and not dry_run and not _goes_beside(pod, entries[0].decode()):
            budget = self._server.resource("policy", "v1", "poddisruptionbudgets")
            target = replace(
                self._call.target, group="policy", version="v1", resource=budget.plural, name=entries[0].name,
                subresource="status",
            )  # fmt: skip
            call = replace(self._call, resource=budget, target=target)
            await self._server.writes.modify(call, _Disrupt(meta["name"], rfc3339(call.now)))


def _needs_no_budget(pod: Json) -> bool:
    """Finished, terminating and never scheduled pods cost no budget."""
    status = pod.get("status") or {}
    return status.get("phase") in (*_TERMINAL, "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


def _goes_beside(pod: Json, budget: Json) -> bool:
    """Whether a pod that is not Ready may go without being counted, by the budget's unhealthyPodEvictionPolicy."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    healthy, desired = int(status.get("currentHealthy", 0)), int(status.get("desiredHealthy", 0))
    return healthy >= desired > 0


class _Disrupt(Change):
    admitted = True

    def __init__(self, pod: str, now: str) -> None:
        self._pod, self._now = pod, now

    def apply(self, call: Call, current: Json) -> Json:
        status = current.setdefault("status", {})
        name = current["metadata"]["name"]
        if status.get("observedGeneration", 0) < current["metadata"].get("generation", 0):
            raise _too_many(f"The disruption budget {name} is still being processed by the server.", name)
        if status.get("disruptionsAllowed", 0) <= 0:
            needed, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
            raise _too_many(
                f"The disruption budget {name} needs {needed} healthy pods and has {healthy} currently", name
            )
        status["disruptionsAllowed"] -= 1
        status.setdefault("disruptedPods", {})[self._pod] = self._now
        return current


class _Mark(Change):
    """Says of the pod why it ends."""

    admitted = True

    def __init__(self, now: str) -> None:
        self._condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting", "lastTransitionTime": now,
        }  # fmt: skip

    def apply(self, call: Call, current: Json) -> Json:
        status = current.setdefault("status", {})
        others = [each for each in status.get("conditions") or () if each.get("type") != "DisruptionTarget"]
        status["conditions"] = [*others, self._condition]
        return current


def _too_many(why: str, budget: str) -> errors.TooManyRequests:
    causes = [{"reason": "DisruptionBudget", "message": why}]
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    return errors.TooManyRequests(message, details={"causes": causes, "name": budget})
