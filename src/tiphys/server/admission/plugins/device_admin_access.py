"""Access to devices that others have is asked for in namespaces alone that an administrator has marked for that.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/dynamic-resource-allocation/#admin-access
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

_GROUP, _LABEL = "resource.k8s.io", "resource.kubernetes.io/admin-access"
_NAMESPACES = "/registry/core/namespaces/"
_RULE = f"admin access to devices requires the `{_LABEL}: true` label on the containing namespace"


class DeviceAdminAccess(Plugin):
    operations = ("CREATE", "UPDATE")
    resources = ((_GROUP, "resourceclaims"), (_GROUP, "resourceclaimtemplates"))

    def __init__(self, cache: Cache) -> None:
        self._namespaces = cache.of(_NAMESPACES)

    async def validate(self, attributes: Attributes) -> None:
        resource, obj = attributes.resource, attributes.obj
        if (resource.group, resource.plural) not in self.resources or obj is None:
            return
        before = set(_asked(attributes.old)) if attributes.old is not None else set()
        asked = [path for path in _asked(obj) if path not in before]
        entry = self._namespaces.items.get(_NAMESPACES + attributes.namespace) if asked else None
        if asked and (entry is None or entry.labels.get(_LABEL) != "true"):
            problems = [errors.forbidden(path, _RULE) for path in asked]
            raise errors.invalid_object(_GROUP, resource.kind, attributes.name, problems)


def _asked(obj: Json) -> Iterator[str]:
    """Where the object asks for it, in its own requests, those of its template, or what it was given."""
    spec = obj.get("spec") or {}
    for path, holder in (("spec", spec), ("spec.spec", spec.get("spec") or {})):
        for index, request in enumerate((holder.get("devices") or {}).get("requests") or ()):
            if (request.get("exactly") or {}).get("adminAccess"):
                yield f"{path}.devices.requests[{index}].adminAccess"
    allocation = (obj.get("status") or {}).get("allocation") or {}
    for index, result in enumerate((allocation.get("devices") or {}).get("results") or ()):
        if result.get("adminAccess"):
            yield f"status.allocation.devices.results[{index}].adminAccess"
