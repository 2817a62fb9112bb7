"""What may be put into one pod's claims: whoever makes them hard to satisfy must not keep everybody's pods waiting."""

from __future__ import annotations

from dataclasses import dataclass, field

# What one expression may cost over all devices, about half a second.
_MOST_COST = 10_000_000
# Of the searches on all nodes together, about a second; and of one.
_MOST_STEPS, STEPS = 100_000, 20_000


@dataclass(slots=True)
class Effort:
    """`costs` is by expression."""

    costs: dict[str, int] = field(default_factory=dict)
    steps: int = 0

    def too_costly(self, expression: str) -> bool:
        return self.costs.get(expression, 0) > _MOST_COST

    @property
    def exhausted(self) -> bool:
        """Nothing more is to be searched for now."""
        return self.steps > _MOST_STEPS
