"""Every namespace has the ServiceAccount `default`.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-controller
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.errors import AlreadyExists, Forbidden, NotFound
from tiphys.api.meta import Key
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.namespace import NAMESPACES, Namespace
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS, ServiceAccount

NAME = "default"


def plan(namespace: Namespace | None, account: ServiceAccount | None) -> bool:
    """Whether the account is to be made."""
    return namespace is not None and not namespace.terminating and account is None


class ServiceAccountController:
    """Keys are names of namespaces."""

    name = "service-account-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._namespaces = context.watch(NAMESPACES)
        self._accounts = context.watch(SERVICE_ACCOUNTS, _namespace_of)
        self._client = context.client.of(SERVICE_ACCOUNTS)

    async def reconcile(self, key: Key) -> After | None:
        if plan(self._namespaces.get(key), self._accounts.get(f"{key}/{NAME}")):
            try:
                await self._client.create({"metadata": {"name": NAME, "namespace": key}})
            except AlreadyExists:
                return None
            except (Forbidden, NotFound) as error:
                if not going(error):
                    raise
        return None


def going(error: Forbidden | NotFound) -> bool:
    """Whether a creation failed because the namespace goes, or went."""
    return isinstance(error, NotFound) or any(cause.get("reason") == "NamespaceTerminating" for cause in error.causes)


def _namespace_of(account: ServiceAccount) -> Iterable[str]:
    return (account.metadata.namespace,) if account.metadata.name == NAME else ()
