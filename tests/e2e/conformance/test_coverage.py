"""Every entry of the lists of upstream's conformance tests has a test here that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("area", ["api", "scheduling", "workloads"])
def test_every_entry_has_a_test(area: str):
    sources = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    names = (HERE / f"{area}.txt").read_text().splitlines()
    assert [name for name in names if name not in sources] == []
