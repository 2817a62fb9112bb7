"""RuntimeClass: what running a pod by its runtime costs, and on which nodes it can run.

Source: https://kubernetes.io/docs/concepts/containers/runtime-class/
"""

from __future__ import annotations

from tiphys.api import errors
from tiphys.api.pod_resources import parsed
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

_CLASSES = "/registry/node.k8s.io/runtimeclasses/"


class RuntimeClass(Plugin):
    operations = ("CREATE",)
    resources = (("", "pods"),)

    def __init__(self, cache: Cache) -> None:
        self._classes = cache.of(_CLASSES)

    async def admit(self, attributes: Attributes) -> None:
        if not _is_new_pod(attributes) or attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        found = self._class_of(attributes, spec)
        if found is not None:
            fixed = (found.get("overhead") or {}).get("podFixed")
            if fixed and not spec.get("overhead"):
                spec["overhead"] = dict(fixed)
            _schedule(attributes, spec, found.get("scheduling") or {})

    async def validate(self, attributes: Attributes) -> None:
        if not _is_new_pod(attributes) or attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        found = self._class_of(attributes, spec) or {}
        fixed, own = parsed((found.get("overhead") or {}).get("podFixed")), parsed(spec.get("overhead"))
        if own and not fixed:
            _refuse(attributes, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
        if own != fixed:
            _refuse(attributes, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")

    def _class_of(self, attributes: Attributes, spec: Json) -> Json | None:
        name = spec.get("runtimeClassName")
        if not name:
            return None
        entry = self._classes.items.get(_CLASSES + name)
        if entry is None:
            _refuse(attributes, f'pod rejected: RuntimeClass "{name}" not found')
            return None
        return entry.decode()


def _is_new_pod(attributes: Attributes) -> bool:
    return attributes.operation == "CREATE" and attributes.is_for("", "pods")


def _schedule(attributes: Attributes, spec: Json, scheduling: Json) -> None:
    own = spec.get("nodeSelector") or {}
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        if own.get(key, value) != value:
            where = f"runtimeClass.scheduling.nodeSelector[{key}] = {value}"
            _refuse(attributes, f"conflict: {where}; pod.spec.nodeSelector[{key}] = {own[key]}")
        own[key] = value
    if own:
        spec["nodeSelector"] = own
    for toleration in scheduling.get("tolerations") or ():
        if toleration not in spec.setdefault("tolerations", []):
            spec["tolerations"].append(toleration)


def _refuse(attributes: Attributes, why: str) -> None:
    raise errors.denied("", "pods", attributes.name, why)
