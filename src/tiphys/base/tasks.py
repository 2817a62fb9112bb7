"""Structured concurrency: every long-running task has a supervisor that restarts it and tells when it fails.

`Supervisor` is a TaskGroup whose children are allowed to crash: a crashed child is logged, counted and started again
after a back-off. Leaving the block cancels the children and waits for them. Cancellation is never swallowed.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeVar

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter

_log = Log("tasks")
_RESTARTS = Counter("tiphys_task_restarts_total", "Supervised tasks that crashed and were started again.", ("task",))

# A child that ran this long before it crashed starts over with the shortest delay.
_STABLE_SECONDS = 30.0
T = TypeVar("T")


class Spent:
    """How long a piece of work holds the event loop, waiting not included, nor what other tasks do for it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @types.coroutine
    def by(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Await `work`, and count."""
        step: Callable[[], Any] = partial(work.send, None)
        while True:
            began = perf_counter()
            try:
                waited_for = step()
            except StopIteration as end:
                done: T = end.value
                return done
            finally:
                self.seconds += perf_counter() - began
            try:
                step = partial(work.send, (yield waited_for))
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - whatever is thrown in belongs to the work
                step = partial(work.throw, error)


class Supervisor:
    def __init__(self, clock: Clock | None = None, backoff: Backoff | None = None) -> None:
        self._clock = clock or SystemClock()
        self._backoff = backoff or Backoff()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing: dict[str, str] = {}
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, value, trace)

    def start(self, name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `run()` until it returns; start it again whenever it raises."""
        return self._spawn(name, self._keep(name, run))

    def problem(self, name: str) -> str:
        """Why the task of this name is not running just now; empty if it is."""
        return self._failing.get(name, "")

    def once(self, name: str, work: Awaitable[None]) -> asyncio.Task[None]:
        """Run `work` once; a failure is logged and ends only this task."""
        return self._spawn(name, self._guard(name, work))

    def _spawn(self, name: str, body: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(body, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guard(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the supervisor is where failures end: logged with trace
            _log.error("task failed", task=name, error=error)

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            started = self._clock.monotonic()
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - the supervisor is where failures end: logged, counted, restarted
                if self._clock.monotonic() - started > _STABLE_SECONDS:
                    failures = 0
                delay = self._backoff.delay(failures)
                failures += 1
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # It failed while it was being cancelled: the cancellation is what counts.
                    _log.error("task failed while it was stopped", task=name, error=error)
                    return
                _RESTARTS.inc(name)
                _log.error("task crashed, starting it again", task=name, delay=round(delay, 2), error=error)
                self._failing[name] = f"{type(error).__name__}: {error}"
                await self._clock.sleep(delay)
                del self._failing[name]
            else:
                return
