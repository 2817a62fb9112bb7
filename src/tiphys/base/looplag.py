"""The loop-lag monitor: how late the event loop ran, as a metric, so that anything blocking shows."""

from __future__ import annotations

from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Gauge

_log = Log("looplag")
_MAX = Gauge("tiphys_loop_lag_max_seconds", "The longest that the event loop was kept from running, since start.")
_INTERVAL = 1.0
_WARN = 0.25


async def monitor(clock: Clock) -> None:
    """Sleep in short spans for ever and record by how much each overslept."""
    _MAX.set(0.0)
    while True:
        before = clock.monotonic()
        await clock.sleep(_INTERVAL)
        lag = clock.monotonic() - before - _INTERVAL
        _MAX.max(lag)
        if lag > _WARN:
            _log.warning("the event loop was blocked", seconds=round(lag, 3))
