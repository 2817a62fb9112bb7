"""NodeRestriction: a kubelet writes its own Node, its pods, the volumes that it keeps and its slices, and none other.

And TaintNodesByCondition.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
_PODS = "/registry/core/pods/"
# What holds a volume that a node has made, until the node has removed it.
_HELD = "tiphys.dev/local-volume"
_NODES, _PREFIX = "system:nodes", "system:node:"


class NodeRestriction(Plugin):
    resources = (("", "pods"), ("", "nodes"), ("", "persistentvolumes"), ("resource.k8s.io", "resourceslices"))

    def __init__(self, cache: Cache) -> None:
        self._pods = cache.of(_PODS)

    def _check_eviction(self, attributes: Attributes, node: str) -> None:
        entry = self._pods.items.get(f"{_PODS}{attributes.namespace}/{attributes.name}")
        if entry is not None and entry.field("spec.nodeName") != node:
            why = f'node "{node}" can only evict pods with spec.nodeName set to itself'
            raise errors.denied("", "pods", attributes.name, why)

    async def validate(self, attributes: Attributes) -> None:
        user = attributes.user
        if not user.name.startswith(_PREFIX) or _NODES not in user.groups:
            return
        node = user.name[len(_PREFIX) :]
        resource = attributes.resource
        if not resource.group and resource.plural == "persistentvolumes":
            _check_volume(attributes, node)
        if attributes.is_of("resource.k8s.io", "resourceslices"):
            _check_slice(attributes, node)
        if resource.group or resource.plural not in ("nodes", "pods"):
            return
        if resource.plural == "nodes" and attributes.name != node:
            raise errors.denied(
                "", "nodes", attributes.name, f'node "{node}" is not allowed to modify node "{attributes.name}"'
            )
        if resource.plural == "pods" and attributes.subresource == "eviction":
            self._check_eviction(attributes, node)
        elif resource.plural == "pods":
            obj = attributes.old or attributes.obj or {}
            on = obj.get("spec", {}).get("nodeName", "")
            mirror = "kubernetes.io/config.mirror" in ((obj.get("metadata") or {}).get("annotations") or {})
            if on != node or (attributes.operation == "CREATE" and not mirror):
                raise errors.denied(
                    "", "pods", attributes.name,
                    f'node "{node}" can only {attributes.operation.lower()} pods with spec.nodeName set to itself',
                )  # fmt: skip


def _check_volume(attributes: Attributes, node: str) -> None:
    """Of a volume that it keeps, a node only says that it keeps it no more."""
    new, old = ({**(obj or {}), "metadata": _besides(obj)} for obj in (attributes.obj, attributes.old))
    kept, held = _finalizers(attributes.obj), _finalizers(attributes.old)
    if attributes.operation != "UPDATE" or new != old or kept not in (held, held - {_HELD}):
        why = f'node "{node}" can only take the finalizer {_HELD} from volumes'
        raise errors.denied("", "persistentvolumes", attributes.name, why)


def _check_slice(attributes: Attributes, node: str) -> None:
    """A node says of no other which devices it has."""
    spec = (attributes.old or attributes.obj or {}).get("spec") or {}
    if spec.get("nodeName") != node:
        verb = attributes.operation.lower()
        why = f"can only {verb} ResourceSlice with the same NodeName as the requesting node"
        raise errors.denied("resource.k8s.io", "resourceslices", attributes.name, why)


def _finalizers(obj: Json | None) -> set[str]:
    return set(((obj or {}).get("metadata") or {}).get("finalizers") or ())


def _besides(obj: Json | None) -> Json:
    """The metadata that a change of finalizers leaves as it is."""
    changing = ("finalizers", "managedFields", "resourceVersion", "generation")
    return {name: value for name, value in ((obj or {}).get("metadata") or {}).items() if name not in changing}


class TaintNodesByCondition(Plugin):
    """A new node is given no pods before it says that it is ready."""

    operations = ("CREATE",)
    resources = (("", "nodes"),)

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation == "CREATE" and attributes.is_for("", "nodes") and attributes.obj is not None:
            taints = attributes.obj.setdefault("spec", {}).setdefault("taints", [])
            if not any(t.get("key") == _NOT_READY["key"] and t.get("effect") == _NOT_READY["effect"] for t in taints):
                taints.append(dict(_NOT_READY))
