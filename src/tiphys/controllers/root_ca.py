"""Every namespace has the ConfigMap `kube-root-ca.crt`, with which pods verify the API server.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.errors import AlreadyExists, Forbidden, NotFound
from tiphys.api.meta import Key
from tiphys.api.resource import Json
from tiphys.controllers.authority import Authority
from tiphys.controllers.base import After, Context
from tiphys.controllers.serviceaccount import going
from tiphys.kinds.core.configmap import CONFIG_MAPS, ConfigMap
from tiphys.kinds.core.namespace import NAMESPACES, Namespace

NAME = "kube-root-ca.crt"
_DESCRIPTION = "kubernetes.io/description"
_TEXT = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def plan(namespace: Namespace | None, current: ConfigMap | None, bundle: str) -> Json | None:
    """What to write, as a whole object where there is none yet, or else as a patch; None where all is well."""
    if namespace is None or namespace.terminating:
        return None
    data, annotations = {"ca.crt": bundle}, {_DESCRIPTION: _TEXT}
    if current is None:
        meta = {"name": NAME, "namespace": namespace.metadata.name, "annotations": annotations}
        return {"metadata": meta, "data": data}
    if current.data == data and current.metadata.annotations.get(_DESCRIPTION) == _TEXT:
        return None
    stray = {key: None for key in current.data if key not in data}
    return {"metadata": {"annotations": annotations}, "data": {**data, **stray}}


class RootCaPublisher:
    """Keys are names of namespaces."""

    name = "root-ca-cert-publisher"
    workers = 1

    def __init__(self, context: Context, authority: Authority) -> None:
        self._authority = authority
        self._namespaces = context.watch(NAMESPACES)
        # A cluster's other ConfigMaps are many and large, and no business of ours.
        self._maps = context.watch(CONFIG_MAPS, _namespace_of, fieldSelector=f"metadata.name={NAME}")
        self._context = context
        authority.on_change(self._publish_anew)
        self._client = context.client.of(CONFIG_MAPS)

    async def reconcile(self, key: Key) -> After | None:
        current = self._maps.get(f"{key}/{NAME}")
        body = plan(self._namespaces.get(key), current, self._authority.bundle)
        if body is None:
            return None
        try:
            if current is None:
                await self._client.create(body)
            else:
                await self._client.patch(current.metadata, body)
        except AlreadyExists:
            return None
        except (Forbidden, NotFound) as error:
            if not going(error):
                raise
        return None

    def _publish_anew(self) -> None:
        for namespace in self._namespaces.items():
            self._context.queue.add(namespace.metadata.key)


def _namespace_of(config_map: ConfigMap) -> Iterable[str]:
    return (config_map.metadata.namespace,)
