"""Every namespace has a ConfigMap with the CA that the API server's certificate is verified with.

Source: https://kubernetes.io/docs/concepts/configuration/configmap/ (kube-root-ca.crt, KEP-1205)
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.errors import AlreadyExists
from tiphys.api.meta import Key
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.configmap import CONFIG_MAPS, ConfigMap
from tiphys.kinds.core.namespace import NAMESPACES

NAME = "kube-root-ca.crt"
_FIELD = "ca.crt"
_WHY = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints."


class RootCaPublisher:
    """Keys are namespaces; `bundle` is the CA in PEM."""

    name = "root-ca-cert-publisher"
    workers = 2

    def __init__(self, context: Context, bundle: str) -> None:
        self._bundle = bundle
        self._client = context.client.of(CONFIG_MAPS)
        self._namespaces = context.watch(NAMESPACES)
        self._maps = context.watch(CONFIG_MAPS, _namespace_of)

    async def reconcile(self, key: Key) -> After | None:
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp:
            return None
        found = self._maps.get(f"{key}/{NAME}")
        if found is None:
            meta = {"name": NAME, "namespace": key, "annotations": {"kubernetes.io/description": _WHY}}
            try:
                await self._client.create({"metadata": meta, "data": {_FIELD: self._bundle}})
            except AlreadyExists:
                return None
        elif found.data != {_FIELD: self._bundle}:
            await self._client.patch(
                found.metadata, [{"op": "add", "path": "/data", "value": {_FIELD: self._bundle}}], kind="json"
            )
        return None


def _namespace_of(found: ConfigMap) -> Iterable[str]:
    return (found.metadata.namespace,) if found.metadata.name == NAME else ()
