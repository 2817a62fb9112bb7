"""A kind of somebody's own that has a scale subresource."""

from __future__ import annotations

from typing import Any

from tiphys.api.errors import NotFound
from tiphys.api.resource import Json, resource
from tiphys.kinds.apiextensions.customresourcedefinition import CUSTOM_RESOURCE_DEFINITIONS

CREWS = resource(group="argo.org", version="v1", kind="Crew", plural="crews", namespaced=True)


async def crew(cluster: Any, *, replicas: int) -> Json:
    """Define the kind, and make the crew "c"."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
             "labelSelectorPath": ".status.selector"}  # fmt: skip
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema},
               "subresources": {"scale": paths}}  # fmt: skip
    names = {"plural": "crews", "singular": "crew", "kind": "Crew", "listKind": "CrewList"}
    body = {"group": "argo.org", "scope": "Namespaced", "names": names, "versions": [version]}
    await cluster.create(CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {"name": "crews.argo.org"}, "spec": body})

    async def made() -> Json | None:
        status = {"replicas": replicas, "selector": "app=c"}
        body = {"metadata": {"name": "c"}, "spec": {"replicas": replicas}, "status": status}
        try:
            await cluster.create(CREWS, {"apiVersion": "argo.org/v1", "kind": "Crew", **body})
        except NotFound:
            return None
        found: Json = await cluster.get(CREWS, "c")
        return found

    found: Json = await cluster.until(made)
    return found
