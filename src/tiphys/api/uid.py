"""UIDs for new objects: random UUIDs (RFC 9562, version 4), drawn many at a time.

A call into the kernel gives up the interpreter, and getting it back from a busy thread takes far longer than the call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

_AT_ONCE = 256


def _uids() -> Iterator[str]:
    while True:
        drawn = os.urandom(16 * _AT_ONCE).hex()
        for start in range(0, len(drawn), 32):
            text = drawn[start : start + 32]
            # The version, and in two bits the variant.
            variant = "89ab"[int(text[16], 16) & 3]
            yield f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


_drawn = _uids()


def new_uid() -> str:
    return next(_drawn)
