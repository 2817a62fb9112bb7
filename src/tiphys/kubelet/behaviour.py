"""What simulated pods do: how fast they start and stop, what goes wrong with them, what they use.

Said for all by `Behaviours`, and for one pod by its annotations, which come first and are read again each time, so that
a pod can be mended or loaded while it runs. Who says nothing costs nothing. Chance is drawn once for each pod, in the
order in which a node gets pods, from a generator seeded by `seed` and the node's name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tiphys.api import quantity
from tiphys.kinds.core.pod import Pod

# Seconds, or from which to which a number of seconds is drawn.
Span = float | tuple[float, float]
EXIT_AFTER, EXIT_CODE = "tiphys.io/exit-after", "tiphys.io/exit-code"
START_DELAY, STOP_DELAY, FAULT = "tiphys.io/start-delay", "tiphys.io/stop-delay", "tiphys.io/fault"
USAGE_CPU, USAGE_MEMORY = "tiphys.io/usage-cpu", "tiphys.io/usage-memory"
# Of a Node: "true" while its runtime is to be down.
NOT_READY = "tiphys.io/not-ready"
# What `tiphys.io/fault` may say: where a pod's containers fail.
IMAGE, CREATE, START = "image", "create", "start"
FAULTS = (IMAGE, CREATE, START)
_CRASH = "crash"
# Given a pod and how many seconds ago its container started -> cores and bytes.
Use = Callable[[Pod, float], tuple[float, float]]


def span(text: str) -> Span:
    """`2.5` or `1-5`. Raises ValueError."""
    low, dash, high = text.partition("-")
    return (float(low), float(high)) if dash else float(low)


def step_at(steps: str, age: float) -> float:
    """The quantity that holds `age` seconds after the start. Raises ValueError."""
    found = 0.0
    for step in steps.split():
        amount, _, since = step.partition("@")
        if float(since or 0) <= age:
            found = quantity.parse(amount).nanos / 1e9
    return found


@dataclass(frozen=True, slots=True)
class Behaviours:
    """`image_missing`, `create_fails`, `start_fails`, `crash` are shares (0 to 1) of pods, `node_fails` of the nodes.

    A node that fails is not ready after `node_fails_after`, for `node_down` seconds, again and again. `usage_cpu` and
    `usage_memory` are quantities, or steps of them ("100m 800m@60": 800m from the 60th second on); or `use` works both
    out. Raises ValueError for what cannot be.
    """

    seed: int = 0
    start_delay: Span = 0.0
    stop_delay: Span = 0.0
    image_missing: float = 0.0
    create_fails: float = 0.0
    start_fails: float = 0.0
    crash: float = 0.0
    crash_after: Span = (1.0, 60.0)
    node_fails: float = 0.0
    node_fails_after: Span = (30.0, 300.0)
    node_down: Span = (30.0, 60.0)
    usage_cpu: str = "10m"
    usage_memory: str = "16Mi"
    use: Use | None = None

    def __post_init__(self) -> None:
        for name in ("image_missing", "create_fails", "start_fails", "crash", "node_fails"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not a share from 0 to 1")
        if self.image_missing + self.create_fails + self.start_fails + self.crash > 1:
            raise ValueError("image_missing, create_fails, start_fails and crash are more than all pods together")
        for steps in (self.usage_cpu, self.usage_memory):
            step_at(steps, 0.0)


# Every pod runs until it is deleted.
CALM = Behaviours()


@dataclass(frozen=True, slots=True)
class Behaviour:
    """After `exit_after` seconds (None: never) it ends with `exit_code`; `ignores_term` makes it use all its grace.

    `start_delay` and `stop_delay` in seconds; `start_delay` None: as its node's others. `fault` of `FAULTS`, or "".
    """

    exit_after: float | None = None
    exit_code: int = 0
    ignores_term: bool = False
    start_delay: float | None = None
    stop_delay: float = 0.0
    fault: str = ""


_PLAIN = Behaviour()


class Chance:
    """Of one node: what becomes of its pods."""

    def __init__(self, behaviours: Behaviours, node: str) -> None:
        self._use, self._node = behaviours, node
        self._random: random.Random | None = None
        shares = (behaviours.image_missing, behaviours.create_fails, behaviours.start_fails, behaviours.crash)
        self._shares = tuple(zip((*FAULTS, _CRASH), shares, strict=True)) if any(shares) else ()
        # Only of those whose lot is not to run.
        self._fates: dict[str, str] = {}

    @property
    def _generator(self) -> random.Random:
        if self._random is None:
            self._random = random.Random(f"{self._use.seed}/{self._node}")  # noqa: S311 - to be foreseen, not secret
        return self._random

    def draw(self, span: Span) -> float:
        return span if isinstance(span, int | float) else self._generator.uniform(*span)

    def happens(self, share: float) -> bool:
        return share > 0 and self._generator.random() < share

    def meet(self, uid: str) -> None:
        """A pod came: draw its lot, once."""
        if not self._shares or uid in self._fates:
            return
        left = self._generator.random()
        for fate, share in self._shares:
            left -= share
            if left < 0:
                self._fates[uid] = fate
                return

    def forget(self, uid: str) -> None:
        self._fates.pop(uid, None)

    def fault(self, uid: str, annotations: Mapping[str, str]) -> str:
        """Of `FAULTS`, or ""."""
        found = annotations.get(FAULT, self._fates.get(uid, ""))
        return found if found in FAULTS else ""

    def behaviour(self, uid: str, annotations: Mapping[str, str]) -> Behaviour:
        """Of a container that is being made."""
        after, use = annotations.get(EXIT_AFTER), self._use
        code = int(annotations.get(EXIT_CODE, "0"))
        if after is None and self._fates.get(uid) == _CRASH:
            after, code = str(self.draw(use.crash_after)), int(annotations.get(EXIT_CODE, "1"))
        start, stop = annotations.get(START_DELAY), annotations.get(STOP_DELAY)
        found = Behaviour(
            None if after is None else self.draw(span(after)), code,
            start_delay=None if start is None else self.draw(span(start)),
            stop_delay=self.draw(use.stop_delay if stop is None else span(stop)),
            fault=self.fault(uid, annotations),
        )  # fmt: skip
        # There may be tens of thousands that do nothing but run.
        return _PLAIN if found == _PLAIN else found


def used(behaviours: Behaviours, pod: Pod, age: float) -> tuple[float, float]:
    """Cores and bytes that a container of a pod uses, `age` seconds after its start."""
    notes = pod.metadata.annotations
    cpu, memory = notes.get(USAGE_CPU), notes.get(USAGE_MEMORY)
    if behaviours.use is not None and cpu is None and memory is None:
        return behaviours.use(pod, age)
    return _step(cpu, behaviours.usage_cpu, age), _step(memory, behaviours.usage_memory, age)


def _step(given: str | None, default: str, age: float) -> float:
    """What an annotation says, if it says anything that can be read."""
    try:
        return step_at(default if given is None else given, age)
    except ValueError:
        return step_at(default, age)
