"""What a controller is and how it is run.

A controller is a class with a `name`, a constructor that takes a `Context` and asks it for informers, handlers and
clients, and one `async reconcile(key)`: read listers, call a pure `plan`, apply what it says. Outcomes: return (done),
return `After(seconds)` (look again then), raise (try again with back-off), raise `Terminal` (only a change helps).

No "expectations" are needed: the runner holds a key until the informers have seen the revisions that the key's last
reconcile wrote, so a plan never counts what it has itself just made as missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import msgspec

from tiphys.api.errors import ApiError, Conflict
from tiphys.api.meta import Key
from tiphys.api.resource import ResourceType
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter
from tiphys.base.tasks import Spent, Supervisor
from tiphys.client.client import Client, writes
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informer, Informers, meta_of
from tiphys.client.timers import Timers
from tiphys.client.transport import Unreachable
from tiphys.client.workqueue import WorkQueue
from tiphys.controllers.quota_room import QuotaRoom

_log = Log("controllers")
_RECONCILES = Counter(
    "tiphys_controller_reconciles_total", "Reconciles by controller and outcome.", ("controller", "outcome")
)
# How long a key is held for the informers to catch up; past that its own writes are old news.
_HOLD_SECONDS = 10.0
# A reconcile that takes no longer needs no rest, and no rest is longer than this.
_BRIEF, _MAX_REST = 0.005, 1.0
T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class After:
    """Done for now; reconcile again after so many seconds, if nothing happens before."""

    seconds: float


class Terminal(Exception):
    """Cannot be done until something about the object changes; the message says what."""


class Controller(Protocol):
    name: str
    workers: int

    async def reconcile(self, key: Key) -> After | None: ...


@runtime_checkable
class Background(Protocol):
    """A controller with work besides its keys: `run` runs beside the workers and is started again when it fails."""

    async def run(self) -> None: ...


class Context:
    """What a controller is given: its own client, the shared informers, its queue, and a recorder of events."""

    def __init__(self, name: str, client: Client, informers: Informers, clock: Clock, timers: Timers) -> None:
        self.name, self.client, self.informers, self.clock = name, client, informers, clock
        self.queue = WorkQueue(timers)
        self.room = QuotaRoom(informers, self.queue)
        self.recorder = EventRecorder(client, name, clock)

    def watch(
        self, resource: ResourceType[T], keys: Callable[[T], Iterable[str]] | None = None, **query: str
    ) -> Informer[T]:
        """The informer of `resource`; every change queues the keys that `keys` gives for it (its own by default).

        `query` (fieldSelector, labelSelector) narrows it to a part. A key is not held for what it wrote to a part.
        """
        informer = self.informers.of(resource, **query)

        def changed(old: T | None, new: T | None) -> None:
            for obj in (old, new):
                if obj is not None:
                    for key in keys(obj) if keys is not None else (meta_of(obj).key,):
                        self.queue.add(key)

        informer.add_handler(changed)
        return informer


def _rest(spent: float) -> float:
    """Seconds for which a key is left alone that took so many of the event loop.

    An object with thousands of others changes with every change of theirs: it may have a fifth of the loop, no more.
    """
    return min(4 * spent, _MAX_REST) if spent > _BRIEF else 0.0


class Runner:
    """Runs one controller: takes keys from its queue, reconciles each by one worker at a time."""

    def __init__(self, controller: Controller, context: Context) -> None:
        self._controller, self._context = controller, context
        self._written: dict[str, dict[tuple[str, str], int]] = {}

    async def run(self) -> None:
        await self._context.informers.synced()
        name = self._controller.name
        async with Supervisor(self._context.clock) as supervisor:
            supervisor.start(f"{name} events", self._context.recorder.run)
            if isinstance(self._controller, Background):
                supervisor.start(f"{name} background", self._controller.run)
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._controller.workers):
                    workers.create_task(self._work(), name=name)

    async def _work(self) -> None:
        queue = self._context.queue
        while True:
            key = await queue.get()
            spent = Spent()
            try:
                await spent.by(self._reconcile(key))
            finally:
                queue.done(key, rest=_rest(spent.seconds))

    async def _reconcile(self, key: str) -> None:
        name, queue = self._controller.name, self._context.queue
        await self._hold(key)
        noted: dict[tuple[str, str], int] = {}
        token = writes.set(noted)
        try:
            outcome = await self._controller.reconcile(Key(key))
        except Terminal as error:
            _RECONCILES.inc(name, "terminal")
            queue.forget(key)
            _log.warning("cannot be reconciled", controller=name, key=key, why=str(error))
        except (ApiError, Unreachable) as error:
            _RECONCILES.inc(name, "retry")
            delay = queue.retry(key)
            self._context.room.failed(key, error)
            # A lost race is everyday business.
            tell = _log.debug if isinstance(error, Conflict) else _log.warning
            tell("reconcile failed", controller=name, key=key, why=str(error), delay=round(delay, 3))
        except Exception as error:  # noqa: BLE001 - one object's defect must not stop the others'
            _RECONCILES.inc(name, "crash")
            queue.retry(key)
            _log.error("reconcile crashed", controller=name, key=key, error=error)
        else:
            _RECONCILES.inc(name, "done")
            queue.forget(key)
            if outcome is not None:
                queue.add_after(key, outcome.seconds)
        finally:
            writes.reset(token)
            if noted:
                self._written[key] = noted

    async def _hold(self, key: str) -> None:
        """Wait until the informers have seen what the last reconcile of this key wrote."""
        for (group, plural), revision in self._written.pop(key, {}).items():
            informer = self._context.informers.get(group, plural)
            if informer is None or informer.revision >= revision:
                continue
            try:
                async with asyncio.timeout(_HOLD_SECONDS):
                    await informer.wait_for(revision)
            except TimeoutError:
                _log.warning("informer is behind", resource=plural, revision=revision, seen=informer.revision)
