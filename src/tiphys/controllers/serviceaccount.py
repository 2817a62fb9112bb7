"""Every namespace has a ServiceAccount named `default`, which pods run as unless they name another.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#serviceaccount-controller
"""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.errors import AlreadyExists
from tiphys.api.meta import Key
from tiphys.controllers.base import After, Context
from tiphys.kinds.core.namespace import NAMESPACES
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS, ServiceAccount

_DEFAULT = "default"


class ServiceAccountController:
    """Keys are namespaces."""

    name = "service-account-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._client = context.client.of(SERVICE_ACCOUNTS)
        self._namespaces = context.watch(NAMESPACES)
        self._accounts = context.watch(SERVICE_ACCOUNTS, _namespace_of)

    async def reconcile(self, key: Key) -> After | None:
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp or self._accounts.get(f"{key}/{_DEFAULT}"):
            return None
        try:
            await self._client.create({"metadata": {"name": _DEFAULT, "namespace": key}})
        except AlreadyExists:
            return None
        return None


def _namespace_of(account: ServiceAccount) -> Iterable[str]:
    return (account.metadata.namespace,) if account.metadata.name == _DEFAULT else ()
