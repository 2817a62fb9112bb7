"""Status updates on their way to the API server: the newest of each pod, retried until it is there, never lost.

One patch at a time for a pod, several pods at once. While a pod is Pending its status waits a moment for what follows:
most pods are Running before anybody could have looked, and their first states are never written. When a pod that was
deleted has ended here, its last status is followed by the deletion that lets its name go.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from tiphys.api.errors import ApiError, Conflict, Invalid, NotFound
from tiphys.api.meta import ObjectMeta
from tiphys.api.resource import Json
from tiphys.base.log import Log
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.timers import Timers
from tiphys.client.transport import Unreachable
from tiphys.client.workqueue import WorkQueue
from tiphys.kinds.core.pod import PODS

_log = Log("kubelet.status")
_WRITERS = 4
# A server that hangs must not keep all writers for long.
_WITHIN = 10.0
# Seconds.
_MOMENT = 0.1
_REPLACED_LISTS = ("podIPs", "hostIPs")


@dataclass(slots=True)
class _Wanted:
    meta: ObjectMeta
    status: Json | None
    finalize: bool


class StatusWriter:
    def __init__(self, client: Client, timers: Timers) -> None:
        self._client = client.of(PODS)
        self._queue = WorkQueue(timers)
        self._wanted: dict[str, _Wanted] = {}
        self._written: dict[str, Json] = {}
        self._settled = asyncio.Event()
        self._settled.set()

    def start(self, supervisor: Supervisor) -> None:
        for number in range(_WRITERS):
            supervisor.start(f"status writer {number}", self._run)

    def set(self, meta: ObjectMeta, status: Json | None, *, finalize: bool = False) -> None:
        """This is the pod's status now, None: what it is; `finalize` deletes the pod once it is written."""
        uid = str(meta.uid)
        if not finalize and self._written.get(uid) == status:
            self._wanted.pop(uid, None)
            self._settle()
            return
        self._wanted[uid] = _Wanted(meta, status, finalize)
        self._settled.clear()
        if not finalize and status is not None and status.get("phase") == "Pending":
            self._queue.add_after(uid, _MOMENT)
        else:
            self._queue.add(uid)

    async def settled(self) -> None:
        """Return once nothing is left to be written."""
        await self._settled.wait()

    def written(self, uid: str) -> Json | None:
        """The status that the server acknowledged last."""
        return self._written.get(uid)

    def forget(self, uid: str) -> None:
        """The pod is gone from the API."""
        self._wanted.pop(uid, None)
        self._written.pop(uid, None)
        self._settle()

    def _settle(self) -> None:
        if not self._wanted:
            self._settled.set()

    async def _run(self) -> None:
        while True:
            uid = await self._queue.get()
            try:
                await self._write(uid)
                self._queue.forget(uid)
            except NotFound:
                self.forget(uid)
            except (ApiError, Unreachable) as error:
                delay = self._queue.retry(uid)
                _log.warning("cannot write a pod's status yet", uid=uid, error=str(error), retry=round(delay, 2))
            finally:
                self._queue.done(uid)
                self._settle()

    async def _write(self, uid: str) -> None:
        wanted = self._wanted.get(uid)
        if wanted is None:
            return
        if wanted.status is not None and self._written.get(uid) != wanted.status:
            patch: dict[str, Any] = {"metadata": {"uid": uid}, "status": _replacing(wanted.status)}
            try:
                await self._client.patch(wanted.meta, patch, kind="strategic", subresource="status", within=_WITHIN)
            except Conflict:
                # Usually another pod has the name now; if not, somebody was faster, and another try will do.
                now = await self._client.get(wanted.meta.name, wanted.meta.namespace)
                if now.metadata.uid == uid:
                    raise
                self.forget(uid)
                return
            except Invalid as error:
                _log.error("the server will never take this status", pod=wanted.meta.key, error=error)
                self.forget(uid)
                return
            self._written[uid] = wanted.status
        if wanted.finalize:
            await self._client.delete(wanted.meta, grace=0)
        if self._wanted.get(uid) is wanted:
            del self._wanted[uid]


def _replacing(status: Json) -> Json:
    """The status as a strategic merge patch that leaves nothing of our own lists' old entries."""
    return {
        key: [*value, {"$patch": "replace"}] if key in _REPLACED_LISTS else value for key, value in status.items()
    }  # fmt: skip
