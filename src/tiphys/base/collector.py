"""Python's garbage collector, set up for a process that holds many objects for long and makes few cycles.

Objects that live as long as the process are not looked at again; young ones are looked at less often than Python's
defaults have it, which are for small programs: a server that decodes a pod makes hundreds of them, nearly all of which
go by themselves.
"""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 20_000, 20, 20


def settle() -> None:
    """Call once everything is imported and set up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
