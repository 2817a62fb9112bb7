"""Every kind of fault under load: no acknowledged write is lost, nothing goes back, no watch has a gap, visits work."""

from __future__ import annotations

import pytest
from faulty import Faulty
from history import check, report
from nemesis import Nemesis

pytestmark = pytest.mark.root
SEED = 20261124


def test_no_fault_breaks_what_was_promised(faulty: Faulty):
    nemesis = Nemesis(faulty.cluster, SEED)
    with faulty.visited() as visits, faulty.load(SEED) as load:
        nemesis.run(list(nemesis.faults()))
    violations = check(load.history)
    print(report(load.history, violations, nemesis.done), f"seed: {SEED}", sep="\n")
    assert violations == []
    assert visits.failures == []
    assert visits.answers > 100
