"""The TTL-after-finished controller: Jobs that say so are deleted some time after their end, with all that is theirs.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished/
"""

from __future__ import annotations

from tiphys.api.errors import NotFound
from tiphys.api.meta import Key
from tiphys.api.time import seconds
from tiphys.controllers.base import After, Context
from tiphys.kinds.batch.job import JOBS, Job


def left(job: Job, now: float) -> float | None:
    """Seconds until the Job may go, not above 0 if it may at once; None if it may not."""
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is None or job.metadata.deletion_timestamp is not None:
        return None
    ends = [c.last_transition_time for c in job.status.conditions if c.type in _ENDS and c.status == "True"]
    return min(seconds(end) for end in ends if end) + ttl - now if any(ends) else None


_ENDS = ("Complete", "Failed")


class TtlAfterFinishedController:
    name = "ttl-after-finished-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.watch(JOBS)
        self._client = context.client.of(JOBS)

    async def reconcile(self, key: Key) -> After | None:
        job = self._jobs.get(key)
        wait = left(job, self._context.clock.time()) if job is not None else None
        if job is None or wait is None:
            return None
        if wait > 0:
            return After(wait)
        try:
            # Who gives it more time meanwhile is heard.
            await self._client.delete(job.metadata, unchanged=True, propagation="Foreground")
        except NotFound:
            return None
        return None
