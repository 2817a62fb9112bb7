"""`upstream(name)` ties a test to the upstream conformance test whose demands it checks."""

from __future__ import annotations

import pytest


def upstream(name: str) -> pytest.MarkDecorator:
    return pytest.mark.upstream(name)
