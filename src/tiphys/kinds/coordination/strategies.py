"""How the holder of a coordinated lease is chosen. Source: upstream's `ValidateCoordinatedLeaseStrategy`."""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import not_supported
from tiphys.kinds.checks import Errors, follows

OLDEST = "OldestEmulationVersion"


def check_strategy(strategy: str, path: str) -> Errors:
    """The field is named twice in what upstream says."""
    where = f"{path}.strategy"
    if "/" in strategy:
        yield from follows(strategy, where, names.qualified_name)
    elif strategy != OLDEST:
        yield not_supported(where, strategy, (OLDEST,))
