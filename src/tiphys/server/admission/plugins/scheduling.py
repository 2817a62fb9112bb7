"""PodTopologyLabels, ExtendedResourceToleration and DenyServiceExternalIPs.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

_NODES = "/registry/core/nodes/"
_TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    """A pod can learn from its own labels in which zone and region it runs."""

    operations = ("CREATE",)
    resources = (("", "pods"),)

    def __init__(self, cache: Cache) -> None:
        self._nodes = cache.of(_NODES)

    async def admit(self, attributes: Attributes) -> None:
        obj = attributes.obj
        if attributes.operation != "CREATE" or obj is None:
            return
        if attributes.is_for("", "pods", "binding"):
            self._label(obj, (obj.get("target") or {}).get("name"))
        elif attributes.is_for("", "pods"):
            self._label(obj, obj["spec"].get("nodeName"))

    def _label(self, obj: Json, node: str | None) -> None:
        entry = self._nodes.items.get(f"{_NODES}{node}") if node else None
        found = {name: entry.labels[name] for name in _TOPOLOGY if name in entry.labels} if entry is not None else {}
        if found:
            obj["metadata"]["labels"] = (obj["metadata"].get("labels") or {}) | found


class ExtendedResourceToleration(Plugin):
    """Nodes tainted by the name of an extended resource are for those who ask for it. Off by default."""

    operations = ("CREATE",)
    resources = (("", "pods"),)

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation != "CREATE" or not attributes.is_for("", "pods") or attributes.obj is None:
            return
        spec = attributes.obj["spec"]
        wanted: set[str] = set()
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            requests = (container.get("resources") or {}).get("requests") or {}
            wanted |= {name for name in requests if "/" in name and "kubernetes.io/" not in name}
        for name in sorted(wanted):
            toleration = {"key": name, "operator": "Exists"}
            if toleration not in spec.setdefault("tolerations", []):
                spec["tolerations"].append(toleration)


class DenyServiceExternalIPs(Plugin):
    """Nobody takes over an address that is not the cluster's; what there is may stay. Off by default."""

    operations = ("CREATE", "UPDATE")
    resources = (("", "services"),)

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in ("CREATE", "UPDATE") or not attributes.is_for("", "services"):
            return
        new, old = (
            ((obj or {}).get("spec") or {}).get("externalIPs") or [] for obj in (attributes.obj, attributes.old)
        )
        if not set(new) <= set(old):
            why = "Use of external IPs is denied by admission control"
            raise errors.denied("", "services", attributes.name, why)
