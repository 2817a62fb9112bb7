"""Secrets of type kubernetes.io/service-account-token get a token, the CA bundle and their namespace.

The token is bound to its Secret: deleting the Secret takes it back. A Secret whose account went goes too.
Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#token-controller
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key
from tiphys.api.resource import Json
from tiphys.controllers.authority import Authority
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.secret import SECRETS, Secret
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS, ServiceAccount

TYPE = "kubernetes.io/service-account-token"
_NAME, _UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
_ACCOUNT = "account"
# Such tokens have no end of their own; the server wants a number, and a century is one.
_SECONDS = 100 * 365 * 86400


def serves(secret: Secret, account: ServiceAccount) -> bool:
    """Whether the Secret is of this very account, not of one of the same name before it."""
    return secret.metadata.annotations.get(_UID, account.metadata.uid) == account.metadata.uid


def plan(secret: Secret, account: ServiceAccount, bundle: bytes) -> Json | None:
    """What the Secret's data lacks, with a `token` of None to be minted; None where all is well."""
    wanted = {"ca.crt": bundle, "namespace": secret.metadata.namespace.encode()}
    missing: Json = {key: value for key, value in wanted.items() if secret.data.get(key) != value}
    if not secret.data.get("token"):
        missing["token"] = None
    return missing if missing or _UID not in secret.metadata.annotations else None


class TokenController:
    """Keys are those of Secrets."""

    name = "token-controller"
    workers = 1

    def __init__(self, context: Context, authority: Authority) -> None:
        self._authority = authority
        self._secrets = context.watch(SECRETS, fieldSelector=f"type={TYPE}")
        self._secrets.add_index(_ACCOUNT, _account_of)
        self._accounts = context.watch(SERVICE_ACCOUNTS, self._secrets_of)
        self._context = context
        authority.on_change(self._fill_anew)
        self._client, self._account_client = context.client.of(SECRETS), context.client.of(SERVICE_ACCOUNTS)

    async def reconcile(self, key: Key) -> After | None:
        secret = self._secrets.get(key)
        if secret is None or secret.metadata.deletion_timestamp is not None:
            return None
        name = secret.metadata.annotations.get(_NAME, "")
        account = self._accounts.get(f"{secret.metadata.namespace}/{name}")
        try:
            if account is None or not serves(secret, account):
                await self._client.delete(secret.metadata)
                return None
            missing = plan(secret, account, self._authority.bundle.encode())
            if missing is None:
                return None
            if "token" in missing:
                missing["token"] = (await self._mint(secret, account)).encode()
            data = {field: b64encode(value).decode() for field, value in missing.items()}
            meta = {"uid": secret.metadata.uid, "annotations": {_UID: account.metadata.uid}}
            await self._client.patch(secret.metadata, {"metadata": meta, "data": data})
        except NotFound:
            # Secret or account went meanwhile, which is an event of its own.
            return None
        return None

    async def _mint(self, secret: Secret, account: ServiceAccount) -> str:
        bound = {"apiVersion": "v1", "kind": "Secret", "name": secret.metadata.name, "uid": secret.metadata.uid}
        request = {
            "metadata": {"name": account.metadata.name, "namespace": account.metadata.namespace},
            "spec": {"expirationSeconds": _SECONDS, "boundObjectRef": bound},
        }  # fmt: skip
        answer = await self._account_client.create_json(request, subresource="token")
        token: str = answer["status"]["token"]
        return token

    def _fill_anew(self) -> None:
        for secret in self._secrets.items():
            self._context.queue.add(secret.metadata.key)

    def _secrets_of(self, account: ServiceAccount) -> Iterable[str]:
        return [secret.metadata.key for secret in self._secrets.by(_ACCOUNT, account.metadata.key)]


def _account_of(secret: Secret) -> Iterable[str]:
    return (f"{secret.metadata.namespace}/{secret.metadata.annotations.get(_NAME, '')}",)
