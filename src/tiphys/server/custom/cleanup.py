"""A definition that is deleted takes its objects along; theirs and its own finalizers are waited for.

Source: upstream's `apiextensions-apiserver/pkg/controller/finalizer/crd_finalizer.go`.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tiphys.api import errors
from tiphys.api.http import Request, User
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.server.app import ApiServer
from tiphys.server.cache import Collection, Finished, Overflow, Watcher
from tiphys.server.call import Call
from tiphys.server.changes import Change
from tiphys.server.custom.naming import set_condition
from tiphys.server.route import Target

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_PATIENCE = 60.0


class Cleanup:
    """`stored` is the storage version of what was established, None if nothing ever was."""

    def __init__(self, server: ApiServer, call: Call, stored: AnyResource | None, user: User) -> None:
        # Objects are deleted as they are stored, whatever version that is: nobody need be asked to convert them.
        self._stored = replace(stored, view=None) if stored is not None else None
        self._server, self._call, self._user = server, call, user

    async def run(self) -> None:
        """Return when the definition is gone. Raises ApiError, Finished."""
        if self._stored is None:
            await self._let_go(("False", "NeverEstablished", "resource was never established"))
            return
        await self._tell(("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"))
        try:
            await self._delete_all(self._stored)
        except errors.ApiError as error:
            await self._tell(("True", "InstanceDeletionFailed", f"could not issue all deletes: {error.message}"))
            raise
        await self._wait_until_empty(self._server.cache.of(self._stored.prefix))
        await self._let_go(("False", "InstanceDeletionCompleted", "removed all instances"))

    async def _delete_all(self, stored: AnyResource) -> None:
        await self._server.cache.fresh()
        for entry in list(self._server.cache.of(stored.prefix).items.values()):
            path = stored.path(entry.name, entry.namespace)
            target = Target(
                "delete", path, stored.group, stored.version, entry.namespace, stored.plural, entry.name
            )  # fmt: skip
            call = Call(Request("DELETE", path), target, stored, self._user, self._server.clock.time())
            try:
                await self._server.deletion.delete(call, admitted=True)
            except errors.NotFound:
                continue

    async def _wait_until_empty(self, collection: Collection) -> None:
        while collection.items:
            watcher = Watcher(lambda entry: True)
            collection.add(watcher)
            try:
                async with asyncio.timeout(_PATIENCE):
                    while collection.items:
                        await watcher.next()
            except TimeoutError:
                told = "could not confirm zero CustomResources remaining: timed out waiting for the condition"
                await self._tell(("True", "InstanceDeletionCheck", told))
            except (Finished, Overflow):
                # Its readers changed or it fell behind: look again.
                continue
            finally:
                collection.remove(watcher)

    async def _tell(self, condition: tuple[str, str, str]) -> None:
        await self._server.writes.modify(self._call, _Terminating(condition))

    async def _let_go(self, condition: tuple[str, str, str]) -> None:
        await self._tell(condition)
        target = replace(self._call.target, path=self._call.target.path.removesuffix("/status"), subresource="")
        await self._server.writes.modify(replace(self._call, target=target), _Release())


class _Terminating(Change):
    def __init__(self, condition: tuple[str, str, str]) -> None:
        self._condition = condition

    def apply(self, call: Call, current: Json) -> Json:
        set_condition(current.setdefault("status", {}), "Terminating", self._condition, rfc3339(call.now))
        return current


class _Release(Change):
    def apply(self, call: Call, current: Json) -> Json:
        finalizers = current["metadata"].get("finalizers") or []
        current["metadata"]["finalizers"] = [name for name in finalizers if name != CLEANUP]
        return current
