"""Python's garbage collector, set up for a process that holds many objects for long and makes few cycles.

Objects that live as long as the process are not looked at again; young ones are looked at less often than Python's
defaults have it, which are for small programs: a server that decodes a pod makes hundreds of them, nearly all of which
go by themselves.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

from tiphys.base.clock import Clock

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 20
# By then a process has started whatever it starts.
_STARTED_SECONDS = 10.0


def settle() -> None:
    """Call once everything is imported and set up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


async def give_back(clock: Clock) -> None:
    """Once the start is over, return to the system what only the start needed."""
    await clock.sleep(_STARTED_SECONDS)
    gc.collect()
    gc.freeze()
    # Only GNU's C library keeps what was freed, and has this.
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
