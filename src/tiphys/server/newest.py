"""How far the store is, asked of the store: what makes reads of a cache linearizable where several servers write.

One question is under way at a time. Whoever comes meanwhile shares the next one, since the answer to the first may be
older than they are. Source: the read index of Raft, as etcd batches it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tiphys.store import Revision


class Newest:
    def __init__(self, ask: Callable[[], Awaitable[Revision]]) -> None:
        self._ask = ask
        self._waiting: list[asyncio.Future[Revision]] = []
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self) -> Revision:
        """A revision that was the last at some moment after the call. Raises StoreError, as `ask` does."""
        answer: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="newest revision")
        return await answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                # Whatever goes wrong concerns those who wait: nobody may be left waiting.
                (told,) = await asyncio.gather(self._ask(), return_exceptions=True)
                for answer in asked:
                    if answer.done():
                        continue
                    if isinstance(told, BaseException):
                        answer.set_exception(told)
                    else:
                        answer.set_result(told)
        finally:
            self._worker = None
