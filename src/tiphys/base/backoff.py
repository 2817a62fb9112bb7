"""Exponential back-off with jitter: the only way anything here retries."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """`delay(n)` is the wait in seconds after the n-th failure in a row (n counts from 0)."""

    initial: float = 0.1
    maximum: float = 30.0
    factor: float = 2.0
    jitter: float = 0.1

    def delay(self, failures: int) -> float:
        # The exponent is capped so that a long outage cannot overflow the power.
        base = min(self.maximum, self.initial * self.factor ** min(failures, 64))
        return base * (1.0 + random.random() * self.jitter)  # noqa: S311 - spreads load, guards no secret
