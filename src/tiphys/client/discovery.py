"""What an API server serves, asked of the server itself, so that custom resources are seen like built-in ones.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.http import JSON
from tiphys.api.resource import Json, ResourceType, resource
from tiphys.client.transport import Transport

_AGGREGATED = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def discover(transport: Transport) -> list[ResourceType[Any]]:
    """Every resource in the version that its group prefers, with the model `Object`. Raises ApiError, Unreachable."""
    found: dict[tuple[str, str], ResourceType[Any]] = {}
    for root in ("/api", "/apis"):
        document: Json = orjson.loads(await transport.send("GET", root, accept=_AGGREGATED))
        for group in document.get("items") or ():
            name = (group.get("metadata") or {}).get("name") or ""
            for version in group.get("versions") or ():
                for entry in version.get("resources") or ():
                    found.setdefault((name, entry["resource"]), _resource(name, version["version"], entry))
    return list(found.values())


def _resource(group: str, version: str, entry: Json) -> ResourceType[Any]:
    return resource(
        group=group, version=version, kind=(entry.get("responseKind") or {}).get("kind", ""), plural=entry["resource"],
        namespaced=entry.get("scope") == "Namespaced", verbs=tuple(entry.get("verbs") or ()),
    )  # fmt: skip
