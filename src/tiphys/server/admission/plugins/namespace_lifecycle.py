"""NamespaceLifecycle: nothing is made in a namespace that is not there or is going; the system's own stay."""

from __future__ import annotations

from tiphys.api import errors
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

_NAMESPACES = "/registry/core/namespaces/"
_IMMORTAL = ("default", "kube-system", "kube-public")


class NamespaceLifecycle(Plugin):
    def __init__(self, cache: Cache) -> None:
        self._namespaces = cache.of(_NAMESPACES)

    async def admit(self, attributes: Attributes) -> None:
        if attributes.operation == "DELETE" and attributes.is_for("", "namespaces"):
            if attributes.name in _IMMORTAL:
                raise errors.denied("", "namespaces", attributes.name, "this namespace may not be deleted")
            return
        if attributes.operation != "CREATE" or not attributes.resource.namespaced:
            return
        entry = self._namespaces.items.get(_NAMESPACES + attributes.namespace)
        if entry is None:
            raise errors.no_such("", "namespaces", attributes.namespace)
        if b'"deletionTimestamp"' in entry.data and entry.decode()["metadata"].get("deletionTimestamp"):
            name = attributes.namespace
            why = f"unable to create new content in namespace {name} because it is being terminated"
            error = errors.denied(attributes.resource.group, attributes.resource.plural, attributes.name, why)
            error.details["causes"] = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {name} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            raise error
