"""Floor 2: where state is kept. Knows keys, bytes and revisions; imports `base` only."""

from tiphys.store.protocol import (
    ABSENT,
    ANY,
    Compacted,
    Conflict,
    Event,
    FutureRevision,
    Page,
    Record,
    Revision,
    Store,
    StoreError,
    Unavailable,
)

__all__ = [
    "ABSENT",
    "ANY",
    "Compacted",
    "Conflict",
    "Event",
    "FutureRevision",
    "Page",
    "Record",
    "Revision",
    "Store",
    "StoreError",
    "Unavailable",
]
