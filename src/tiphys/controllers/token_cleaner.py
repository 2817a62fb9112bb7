"""Removes bootstrap tokens the moment they expire.

Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#token-management-with-kubeadm
"""

from __future__ import annotations

from tiphys.api import bootstrap_tokens
from tiphys.api.errors import NotFound
from tiphys.api.meta import Key
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.secret import SECRETS


class TokenCleanerController:
    """Keys are those of Secrets."""

    name = "token-cleaner-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._secrets = context.watch(SECRETS, fieldSelector=f"type={bootstrap_tokens.TYPE}")
        self._client = context.client.of(SECRETS)

    async def reconcile(self, key: Key) -> After | None:
        secret = self._secrets.get(key)
        if secret is None or secret.metadata.namespace != bootstrap_tokens.NAMESPACE:
            return None
        token = bootstrap_tokens.of_secret(secret.metadata.name, secret.data)
        if token is None or token.expires is None:
            return None
        left = token.expires - self._context.clock.time()
        if left > 0:
            return After(left)
        try:
            await self._client.delete(secret.metadata, unchanged=True)
        except NotFound:
            return None
        return None
