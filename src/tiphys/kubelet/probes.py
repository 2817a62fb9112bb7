"""The probes of one pod's running containers: one task for each probe, and what they found, as verdicts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tiphys.base.clock import Clock
from tiphys.base.tasks import Supervisor
from tiphys.kinds.core.container import Container, Probe
from tiphys.kubelet import runtime
from tiphys.kubelet.handlers import Handlers, Target
from tiphys.kubelet.steps import Verdict

# After a first readiness probe that failed: most containers need a moment, and few a whole period.
_EARLY_SECONDS = 0.1
_RESULTS = {True: "successful", False: "failed", None: "unknown"}
# Containers by id, as specified and as they run.
Running = Mapping[str, tuple[Container, runtime.Container]]
# (kind, container name, output): a probe failed.
Unhealthy = Callable[[str, str, str], None]


@dataclass(frozen=True, slots=True)
class Services:
    """What probing needs of the kubelet."""

    handlers: Handlers
    supervisor: Supervisor
    clock: Clock
    changed: Callable[[], None]
    unhealthy: Unhealthy


class Prober:
    """`follow` with what runs now; `verdicts` at any time; `stop` in the end.

    `counts` are of (kind of probe, container, result), by upstream's words for results.
    """

    def __init__(self, services: Services) -> None:
        self._use = services
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self._verdicts: dict[str, Verdict] = {}
        self._started: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        return dict(self._verdicts)

    def follow(self, running: Running, ip: str, known: Mapping[str, Verdict]) -> None:
        """Probe these containers, by id, and no others. `known` are verdicts from before this kubelet started."""
        for identifier in [key for key in self._tasks if key not in running]:
            self._drop(identifier)
        for identifier, (spec, live) in running.items():
            if identifier not in self._tasks:
                self._adopt(spec, live, ip, known.get(identifier))

    def stop(self) -> None:
        for identifier in list(self._tasks):
            self._drop(identifier)

    def _drop(self, identifier: str) -> None:
        for task in self._tasks.pop(identifier):
            task.cancel()
        self._verdicts.pop(identifier, None)
        self._started.pop(identifier, None)

    def _adopt(self, spec: Container, live: runtime.Container, ip: str, known: Verdict | None) -> None:
        probes = {"Startup": spec.startup_probe, "Liveness": spec.liveness_probe, "Readiness": spec.readiness_probe}
        wanted = {kind: probe for kind, probe in probes.items() if probe is not None}
        started = "Startup" not in wanted or (known is not None and known.started)
        ready = started and ("Readiness" not in wanted or (known is not None and known.ready))
        self._verdicts[live.id] = Verdict(started=started, ready=ready)
        event = self._started[live.id] = asyncio.Event()
        if started:
            event.set()
            wanted.pop("Startup", None)
        target = Target(spec, live.id, ip)
        self._tasks[live.id] = [
            self._use.supervisor.start(f"{kind} probe of {spec.name}", _Loop(self, kind, probe, target, live).run)
            for kind, probe in wanted.items()
        ]

    def _set(self, identifier: str, **facts: object) -> None:
        old = self._verdicts.get(identifier)
        if old is None:
            return
        new = replace(old, **facts)  # type: ignore[arg-type]
        if new != old:
            self._verdicts[identifier] = new
            self._use.changed()


class _Loop:
    """One probe of one container, for as long as its result can matter.

    Until a container was ready for the first time, the pauses grow from a tenth of a second to the period, as upstream
    allows itself: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
    """

    def __init__(self, prober: Prober, kind: str, probe: Probe, target: Target, live: runtime.Container) -> None:
        self._prober, self._kind, self._probe, self._target = prober, kind, probe, target
        self._begin = live.started_at + probe.initial_delay_seconds
        self._good = self._bad = 0
        self._pause = min(_EARLY_SECONDS, probe.period_seconds) if kind == "Readiness" else float(probe.period_seconds)

    async def run(self) -> None:
        use = self._prober._use
        if self._kind != "Startup":
            await self._prober._started[self._target.container_id].wait()
        if self._prober._verdicts[self._target.container_id].ready:
            # Of a kubelet before this one: it takes whole periods to say otherwise.
            self._pause = self._probe.period_seconds
        await use.clock.sleep(max(0.0, self._begin - use.clock.time()))
        while not await self._once():
            if self._good:
                self._pause = self._probe.period_seconds
            await use.clock.sleep(self._pause)
            self._pause = min(2 * self._pause, self._probe.period_seconds)

    async def _once(self) -> bool:
        """One attempt; whether it was the last."""
        outcome = await self._prober._use.handlers.probe(self._target, self._probe)
        self._prober.counts[self._kind, self._target.container.name, _RESULTS[outcome.ok]] += 1
        if outcome.ok is None:
            self._report(outcome.output, "errored")
            return False
        if outcome.ok:
            self._good, self._bad = self._good + 1, 0
            return self._good >= self._probe.success_threshold and self._passed()
        self._good, self._bad = 0, self._bad + 1
        if self._bad == 1 or self._pause >= self._probe.period_seconds:
            self._report(outcome.output, "failed")
        return self._bad >= self._probe.failure_threshold and self._failed()

    def _report(self, output: str, word: str) -> None:
        text = f"{self._kind} probe {word}: {output}"
        self._prober._use.unhealthy(self._kind, self._target.container.name, text)

    def _passed(self) -> bool:
        identifier = self._target.container_id
        if self._kind == "Readiness":
            self._prober._set(identifier, ready=True)
            return False
        if self._kind == "Liveness":
            return False
        ready = self._target.container.readiness_probe is None
        self._prober._set(identifier, started=True, ready=ready)
        self._prober._started[identifier].set()
        return True

    def _failed(self) -> bool:
        identifier, name = self._target.container_id, self._target.container.name
        if self._kind == "Readiness":
            self._prober._set(identifier, ready=False)
            return False
        grace = self._probe.termination_grace_period_seconds
        message = f"Container {name} failed {self._kind.lower()} probe, will be restarted"
        self._prober._set(identifier, alive=False, message=message, grace=None if grace is None else float(grace))
        return True
