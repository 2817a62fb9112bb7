"""The fixture of a whole API server in memory with a scheduler, on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from scheduled import Scheduled, scheduling


@pytest.fixture
async def scheduled() -> AsyncIterator[Scheduled]:
    async with scheduling() as made:
        yield made
