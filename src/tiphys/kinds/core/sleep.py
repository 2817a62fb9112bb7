"""Scale to zero: what a Service says of it, and what nodes tell of the traffic to such Services.

Annotations of our own: a Service with `tiphys.dev/scale-to-zero-after: 60s` lets the Deployments and StatefulSets
behind it go to zero replicas once nobody has used it for so long, and come back when somebody connects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from tiphys.kinds.core.service import Service

AFTER = "tiphys.dev/scale-to-zero-after"
# Of a Node: who waits there for which Service, and when each was last used.
TRAFFIC = "tiphys.dev/service-traffic"
# Of a workload at zero: how many replicas it had.
BEFORE = "tiphys.dev/replicas-before-zero"
_DURATION = re.compile(r"(\d+)(s|m|h)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, None: 1}


@dataclass(frozen=True, slots=True)
class Use:
    """Of one Service on one node: whether connections wait there, and when it was last used (unix seconds)."""

    waiting: bool
    last: float


def sleeps_after(service: Service) -> int | None:
    """Seconds without use after which a Service's workloads go to zero; None if they do not, or it is no duration."""
    match = _DURATION.fullmatch(service.metadata.annotations.get(AFTER, ""))
    return int(match[1]) * _UNITS[match[2]] if match else None


def encode(uses: Mapping[str, Use]) -> str:
    return msgspec.json.encode({key: (use.waiting, use.last) for key, use in sorted(uses.items())}).decode()


def decode(text: str) -> dict[str, Use]:
    """By the Services' keys; nothing for what is not a report."""
    try:
        found = msgspec.json.decode(text, type=dict[str, tuple[bool, float]]) if text else {}
    except msgspec.DecodeError:
        return {}
    return {key: Use(*value) for key, value in found.items()}
