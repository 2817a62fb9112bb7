"""Publishes where the cluster is and whom to trust, signed with every bootstrap token.

The ConfigMap `cluster-info` in kube-public holds a kubeconfig without a user, which everybody may read, and for every
token that allows signing a signature by which its holder knows that nobody has altered it.
Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#configmap-signing
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping

from tiphys.api import bootstrap_tokens
from tiphys.api.bootstrap_tokens import CLUSTER_INFO, SIGNATURE_PREFIX, SIGNED, SIGNING, BootstrapToken
from tiphys.api.errors import AlreadyExists
from tiphys.api.meta import Key
from tiphys.api.resource import Json
from tiphys.controllers.authority import Authority
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.configmap import CONFIG_MAPS, ConfigMap
from tiphys.kinds.core.secret import SECRETS, Secret

NAMESPACE = "kube-public"
_KEY = Key(f"{NAMESPACE}/{CLUSTER_INFO}")


def kubeconfig(server: str, bundle: str) -> str:
    """A kubeconfig, as JSON, which is YAML too, that says where the API server is and which CAs to trust."""
    data = b64encode(bundle.encode()).decode()
    cluster = {"name": "", "cluster": {"server": server, "certificate-authority-data": data}}
    fields: Json = {
        "apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [], "users": [], "preferences": {},
        "current-context": "",
    }  # fmt: skip
    return json.dumps(fields, indent=2)


def plan(content: str, tokens: Iterable[BootstrapToken], now: float) -> dict[str, str]:
    """The data of the ConfigMap: what is signed, and a signature for each token that allows it."""
    signatures = {
        SIGNATURE_PREFIX + token.id: bootstrap_tokens.signature(content, token)
        for token in tokens if SIGNING in token.usages and token.alive(now)
    }  # fmt: skip
    return {SIGNED: content, **signatures}


class BootstrapSignerController:
    """Its one key is that of the ConfigMap. `server` is the URL by which other machines reach the API."""

    name = "bootstrap-signer-controller"
    workers = 1

    def __init__(self, context: Context, authority: Authority, server: str) -> None:
        self._context, self._authority, self._server = context, authority, server
        self._secrets = context.watch(SECRETS, _key_of, fieldSelector=f"type={bootstrap_tokens.TYPE}")
        # Nobody else's ConfigMaps are of interest.
        self._maps = context.watch(CONFIG_MAPS, fieldSelector=f"metadata.name={CLUSTER_INFO}")
        self._client = context.client.of(CONFIG_MAPS)
        authority.on_change(self._sign_anew)
        self._sign_anew()

    async def reconcile(self, key: Key) -> After | None:
        if key != _KEY:
            return None
        content = kubeconfig(self._server, self._authority.bundle)
        wanted = plan(content, self._tokens(), self._context.clock.time())
        await self._write(self._maps.get(key), wanted)
        return None

    def _sign_anew(self) -> None:
        self._context.queue.add(_KEY)

    def _tokens(self) -> list[BootstrapToken]:
        ours = (secret for secret in self._secrets.items() if secret.metadata.namespace == bootstrap_tokens.NAMESPACE)
        found = (bootstrap_tokens.of_secret(secret.metadata.name, secret.data) for secret in ours)
        return [token for token in found if token is not None]

    async def _write(self, found: ConfigMap | None, wanted: Mapping[str, str]) -> None:
        if found is None:
            meta = {"name": CLUSTER_INFO, "namespace": NAMESPACE}
            try:
                await self._client.create({"metadata": meta, "data": dict(wanted)})
            except AlreadyExists:
                # The informer is about to tell of it.
                return
        elif found.data != wanted:
            stray = {name: None for name in found.data if name not in wanted}
            await self._client.patch(found.metadata, {"data": {**wanted, **stray}})


def _key_of(secret: Secret) -> Iterable[str]:
    return (_KEY,)
