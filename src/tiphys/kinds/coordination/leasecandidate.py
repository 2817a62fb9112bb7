"""LeaseCandidate. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable
from tiphys.kinds.coordination.strategies import OLDEST, check_strategy
from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import KindStrategy

_NUMBER = r"(0|[1-9]\d*)"
_PART = r"(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PART}(?:\.{_PART})*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
# Numbers, then whether it is a release, then the parts of what comes before one.
_Order = tuple[tuple[int, ...], bool, list[tuple[bool, int, str]]]
_ZERO: _Order = ((0, 0, 0), True, [])


class LeaseCandidateStrategy(KindStrategy):
    name_rule = staticmethod(names.config_key)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if not spec.get("leaseName"):
            yield required("spec.leaseName")
        emulated, binary = spec.get("emulationVersion") or "", spec.get("binaryVersion") or ""
        if emulated and _parsed(emulated) is None:
            yield invalid("spec.emulationVersion", emulated, "must be a valid semantic version")
        if not binary:
            yield required("spec.binaryVersion")
        elif _parsed(binary) is None:
            yield invalid("spec.binaryVersion", binary, "must be a valid semantic version")
        if binary and emulated and (_parsed(binary) or _ZERO) < (_parsed(emulated) or _ZERO):
            yield invalid("spec.binaryVersion", binary, "must be greater than or equal to `emulationVersion`")
        strategy = spec.get("strategy") or ""
        if not strategy:
            yield required("spec.strategy")
        else:
            if strategy == OLDEST and (_parsed(emulated) or _ZERO) == _ZERO:
                yield required("spec.emulationVersion", f"must be specified when `strategy` is '{OLDEST}'")
            yield from check_strategy(strategy, "spec.strategy")
        yield from immutable(new, old, "spec.leaseName")


def _parsed(text: str) -> _Order | None:
    """To compare by, or None if it is no semantic version."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    before = found[4]
    parts = [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in (before or "").split(".")]
    return (int(found[1]), int(found[2]), int(found[3])), before is None, parts if before else []


LEASE_CANDIDATES = declare(
    group="coordination.k8s.io", version="v1beta1", kind="LeaseCandidate", plural="leasecandidates",
    strategy=LeaseCandidateStrategy(),
)  # fmt: skip
