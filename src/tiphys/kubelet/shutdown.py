"""A machine that goes down: the node says so, and its pods end by priority, each group within its share of the time.

The rest of the kubelet runs on meanwhile, so statuses are told, hooks run and logs can be read.
Source: https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.eviction import CRITICAL_PRIORITY
from tiphys.kubelet.steps import End, Phase

if TYPE_CHECKING:
    from tiphys.kubelet.worker import PodWorker

_log = Log("kubelet.shutdown")
REFUSED = End("NodeShutdown", "Pod was rejected as the node is shutting down.")
_MESSAGE = "Pod was terminated in response to imminent node shutdown."


@dataclass(frozen=True, slots=True)
class Band:
    """Pods of at least this priority, and below the next band's, have so many seconds to end."""

    priority: int
    seconds: float


def bands(config: KubeletConfig) -> list[Band]:
    """Lowest priority first. Those by priority, where there are any, take the place of the two periods."""
    if config.shutdown_grace_period_by_pod_priority:
        found = (Band(*entry) for entry in config.shutdown_grace_period_by_pod_priority)
        return sorted(found, key=lambda band: band.priority)
    critical = min(config.shutdown_grace_period_critical_pods, config.shutdown_grace_period)
    return [Band(0, config.shutdown_grace_period - critical), Band(CRITICAL_PRIORITY, critical)]


def band_of(pod: Pod, ordered: Sequence[Band]) -> Band:
    """Pods below all bands go with the lowest."""
    return next((band for band in reversed(ordered) if pod.spec.priority >= band.priority), ordered[0])


def ending(pod: Pod, band: Band) -> End:
    grace = min(float(pod.spec.termination_grace_period_seconds), band.seconds)
    return End("Terminated", _MESSAGE, grace=grace, disruption=True)


async def within(clock: Clock, seconds: float, work: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` ended in time; else it is broken off."""
    doing, sleep = asyncio.ensure_future(work), asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait((doing, sleep), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
        return doing.done()
    finally:
        doing.cancel()
        sleep.cancel()


async def end_pods(workers: Iterable[PodWorker], ordered: Sequence[Band], clock: Clock) -> None:
    """End band after band; what does not end within its band's time is left to the machine's end."""
    alive = [worker for worker in workers if worker.phase is not Phase.TERMINATED]
    for band in ordered:
        chosen = [worker for worker in alive if band_of(worker.pod, ordered) == band]
        if not chosen:
            continue
        _log.info("ending pods", count=len(chosen), priority=band.priority, seconds=band.seconds)
        for worker in chosen:
            worker.evict(ending(worker.pod, band))
        if not await within(clock, band.seconds, _over(chosen)):
            left = [worker.pod.metadata.key for worker in chosen if not worker.over.is_set()]
            _log.warning("pods did not end in time", pods=left)


async def _over(workers: Iterable[PodWorker]) -> None:
    for worker in workers:
        await worker.over.wait()
