"""The worker of one pod: a mailbox of one slot, and a loop of observe, decide, act.

Whatever happens sets the mailbox; several things that happen meanwhile are one turn. What takes long (a pull, a grace
period) runs beside the loop and sets the mailbox when it ends, so a deletion is never kept waiting. The pod's status
is told at every turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

import msgspec

from tiphys.api.time import seconds
from tiphys.base.backoff import Backoff
from tiphys.base.log import Log
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet import runtime, status, steps
from tiphys.kubelet.actions import SANDBOX_FAILED, Actions, Failure
from tiphys.kubelet.decide import decide
from tiphys.kubelet.identity import shown
from tiphys.kubelet.probes import Prober
from tiphys.kubelet.probes import Services as ProbeServices
from tiphys.kubelet.restart import CrashLoop
from tiphys.kubelet.runtime import Gone, PodRuntime, RuntimeFault
from tiphys.kubelet.services import Services
from tiphys.kubelet.steps import EDGES, Observed, Phase, Step, Verdict

_log = Log("kubelet.pod")
_RETRY = Backoff(initial=0.25, maximum=60.0)
_SANDBOX = "@sandbox"
_REFRESH = "@volumes"
_STARTING = Verdict(started=False, ready=False)


class PodWorker:
    """Run `run()` under a supervisor; it returns when the pod is gone from the API and from this node."""

    def __init__(self, pod: Pod, services: Services) -> None:
        self.pod, self._use = pod, services
        self.uid = str(pod.metadata.uid)
        self.phase = Phase.SYNCING
        self.found = PodRuntime()
        # Set once nothing of the pod runs and that was told.
        self.over = asyncio.Event()
        self._actions = Actions(services)
        self._mail = asyncio.Event()
        self._mail.set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._graces: dict[str, float] = {}
        self._crashes = CrashLoop()
        self._failures: dict[str, int] = {}
        self._blocked: dict[str, float] = {}
        self._waiting: dict[str, tuple[str, str]] = {}
        self._messages: dict[str, str] = {}
        self._told: set[str] = set()
        self._end: steps.End | None = None
        self._ends: dict[str, asyncio.Event] = {}
        self._resized: dict[str, int] = {}
        self._removed = self._stale = False
        # How often ConfigMaps and Secrets changed: what failed with older ones need not wait.
        self._changes = 0
        # What ended before this kubelet began keeps the status it has: the runtime may know nothing of it any more.
        self._was_finished = pod.finished
        self._started_at = seconds(pod.status.start_time) if pod.status.start_time else services.clock.time()
        self._known = _known(pod)
        self._prober = Prober(ProbeServices(
            services.handlers, services.supervisor, services.clock, self.wake, self._unhealthy
        ))  # fmt: skip

    @property
    def probes(self) -> Mapping[tuple[str, str, str], int]:
        """How often probes ended how, by (kind, container, result)."""
        return self._prober.counts

    def wake(self) -> None:
        self._mail.set()

    def update(self, pod: Pod) -> None:
        """The API has a newer form of the pod."""
        # Labels and annotations may be shown in volumes.
        self._stale = self._stale or pod.metadata.labels != self.pod.metadata.labels
        self._stale = self._stale or pod.metadata.annotations != self.pod.metadata.annotations
        self.pod = pod
        self.wake()

    def objects_changed(self) -> None:
        """A ConfigMap or Secret of the pod's changed."""
        self._stale = True
        self._changes += 1
        self._blocked.clear()
        self.wake()

    def may_start(self) -> None:
        """An image or a driver is here that was not: what could not be started may be tried at once."""
        self._blocked.clear()
        self.wake()

    def removed(self) -> None:
        """The API has the pod no more."""
        self._removed = True
        self.wake()

    async def ended(self, container_id: str) -> None:
        """Return once a container is seen to have ended; at once where it is not known."""
        if any(item.id == container_id and item.running for item in self.found.containers):
            await self._ends.setdefault(container_id, asyncio.Event()).wait()

    def evict(self, end: steps.End) -> None:
        """End the pod for a reason of the node's."""
        self._end = self._end or end
        self.wake()

    async def run(self) -> None:
        try:
            while not (self._removed and self.phase is Phase.TERMINATED):
                await self._mail.wait()
                self._mail.clear()
                try:
                    await self._turn()
                    self._failures.pop("turn", None)
                except RuntimeFault as fault:
                    _log.warning("the runtime failed a pod, trying again", pod=shown(self.pod), error=str(fault))
                    self._again_after(_RETRY.delay(self._count("turn")))
            await self._actions.erase(self.pod, await self._use.runtime.observe(self.uid))
        finally:
            self._prober.stop()
            await self._cancel(list(self._tasks))
            self._use.timers.cancel(self._timer)

    @property
    def _timer(self) -> str:
        return f"pod {self.uid}"

    def _count(self, what: str) -> int:
        """How often `what` failed in a row before now."""
        self._failures[what] = self._failures.get(what, -1) + 1
        return self._failures[what]

    def _again_after(self, delay: float) -> None:
        self._use.timers.call_after(max(0.0, delay), self._timer, self.wake)

    def _again_at(self, moment: float) -> None:
        self._again_after(moment - self._use.clock.time())

    async def _turn(self) -> None:
        observed = await self._observe()
        todo = decide(self._asked(), observed, self._use.clock.time())
        self._note_waiting(todo)
        self._tell(observed)
        await self._act(todo)
        if self._stale and self.phase is Phase.SYNCING and self._actions.paths is not None:
            self._stale = False
            self._spawn(_REFRESH, self._refresh())
        if self._actions.tokens_due is not None:
            self._stale = self._stale or self._actions.tokens_due <= self._use.clock.time()
            self._again_at(self._actions.tokens_due)

    def _asked(self) -> Pod:
        """The pod as it should be treated: one that is gone from the API counts as deleted."""
        if not self._removed or self.pod.deleted:
            return self.pod
        meta = msgspec.structs.replace(self.pod.metadata, deletion_timestamp=self.pod.metadata.creation_timestamp)
        return msgspec.structs.replace(self.pod, metadata=meta)

    async def _observe(self) -> Observed:
        # What ends while the runtime is asked may be seen as it was before; its end brings another turn.
        busy = set(self._tasks)
        self.found = found = await self._use.runtime.observe(self.uid)
        for item in found.containers:
            if item.exited and item.id not in self._messages:
                self._messages[item.id] = await self._use.host.message(item)
        running = {item.id for item in found.containers if item.running}
        for identifier in [key for key in self._ends if key not in running]:
            self._ends.pop(identifier).set()
        self._follow(found)
        # What is still being started (its postStart hook runs) is not ready, whatever its probes will say.
        starting = {item.id: _STARTING for item in found.containers if item.running and item.name in self._tasks}
        return Observed(
            self.phase, found, {**self._prober.verdicts, **starting}, self._crashes, dict(self._blocked), self._end,
            frozenset(busy | self._tasks.keys()), self._started_at,
        )  # fmt: skip

    def _follow(self, found: PodRuntime) -> None:
        """Probe what runs of the spec, unless its start is not complete yet."""
        if self.phase is Phase.TERMINATED:
            self._prober.stop()
            return
        running: dict[str, tuple[Container, runtime.Container]] = {}
        for spec in (*self.pod.spec.init_containers, *self.pod.spec.containers):
            latest = found.latest(spec.name)
            if latest is not None and latest.running and spec.name not in self._tasks:
                running[latest.id] = (spec, latest)
        ips = self._actions.facts(found.sandbox, self.pod).pod_ips
        self._prober.follow(running, ips[0] if ips else "127.0.0.1", self._known)

    def _note_waiting(self, todo: list[Step]) -> None:
        for step in todo:
            if isinstance(step, steps.BackOff):
                text = f"back-off {_duration(step.delay)} restarting failed container={step.name} pod={shown(self.pod)}"
                self._waiting[step.name] = ("CrashLoopBackOff", text)
                if step.container_id not in self._told:
                    self._told.add(step.container_id)
                    message = f"Back-off restarting failed container {step.name} in pod {shown(self.pod)}"
                    self._actions.events(self.pod).container(step.name, "BackOff", message, "Warning")

    def _tell(self, observed: Observed) -> None:
        if self._removed:
            return
        inputs = status.Inputs(
            self._use.clock.time(), tuple(self._use.config.addresses), self._use.runtime_name,
            dict(self._waiting), self._messages,
        )  # fmt: skip
        over = self.phase is Phase.TERMINATED and self.pod.deleted
        if not self._was_finished:
            self._use.statuses.set(self.pod.metadata, status.build(self.pod, observed, inputs), finalize=over)
        elif over:
            self._use.statuses.set(self.pod.metadata, None, finalize=True)
        if self.phase is Phase.TERMINATED:
            self.over.set()

    async def _act(self, todo: list[Step]) -> None:
        stops = [step for step in todo if isinstance(step, steps.StopContainer)]
        first = min((step.stage for step in stops), default=0)
        for step in todo:
            match step:
                case steps.EndPod():
                    await self._go(Phase.TERMINATING, step.end)
                case steps.Release():
                    if await self._actions.release(self.pod):
                        await self._go(Phase.TERMINATED, self._end)
                    else:
                        self._again_after(_RETRY.delay(self._count("release")))
                case steps.CreateSandbox():
                    self._spawn(_SANDBOX, self._create_sandbox(step.attempt))
                case steps.StopSandbox():
                    await self._actions.stop_sandbox(step.sandbox_id, remove=step.remove)
                    self.wake()
                case steps.StartContainer():
                    self._spawn(step.name, self._start(step))
                case steps.StopContainer() if step.stage == first:
                    await self._stop(step)
                case steps.ResizeContainer() if self._resized.get(step.container_id) != self.pod.metadata.generation:
                    self._spawn(step.name, self._resize(step))
                case steps.RemoveContainer():
                    await self._actions.remove_container(step.container_id)
                    self.wake()
                case steps.BackOff() | steps.LookAgain():
                    self._again_at(step.at)

    async def _go(self, phase: Phase, end: steps.End | None) -> None:
        if phase not in EDGES[self.phase]:
            raise AssertionError(f"pod {shown(self.pod)}: no way from {self.phase} to {phase}")
        if self.phase is not phase:
            self.phase, self._end = phase, end
            await self._cancel([key for key in self._tasks if not key.startswith("stop ")])
            if end is not None:
                self._actions.events(self.pod).pod_event(end.reason, end.message, "Warning")
        self.wake()

    def _spawn(self, key: str, work: Awaitable[None]) -> None:
        """Run beside the loop, once for a key; its end is mail."""
        if key in self._tasks:
            # Nothing was started, so nothing is left running.
            getattr(work, "close", lambda: None)()
            return
        task = self._tasks[key] = self._use.supervisor.once(f"{key} of {shown(self.pod)}", work)

        def ended(done: asyncio.Task[None]) -> None:
            if self._tasks.get(key) is done:
                del self._tasks[key]
            self._graces.pop(key, None)
            self.wake()

        task.add_done_callback(ended)

    async def _cancel(self, keys: list[str]) -> None:
        tasks = [self._tasks.pop(key) for key in keys if key in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _create_sandbox(self, attempt: int) -> None:
        changes = self._changes
        failure = await self._actions.create_sandbox(self.pod, attempt)
        self._retry_or_clear(_SANDBOX, failure, changes)

    async def _refresh(self) -> None:
        changes = self._changes
        failure = await self._actions.prepare_volumes(self.pod)
        if failure is not None:
            self._stale = True
        self._retry_or_clear(_REFRESH, failure, changes)

    def _retry_or_clear(self, what: str, failure: Failure | None, changes: int) -> None:
        """`changes`: how many there were when it was begun."""
        if failure is None:
            self._failures.pop(what, None)
            return
        if failure.reason != SANDBOX_FAILED and changes != self._changes:
            return
        delay = _RETRY.delay(self._count(what))
        names = [container.name for container in self.pod.spec.all_containers()]
        for name in [steps.SANDBOX] if failure.reason == SANDBOX_FAILED else names:
            self._blocked[name] = self._use.clock.time() + delay
        self._again_after(delay)

    async def _start(self, step: steps.StartContainer) -> None:
        now = self._use.clock.time()
        if step.attempt:
            self._crashes.restarted(step.name, now)
        changes = self._changes
        failure = await self._actions.start(self.pod, step, self.found)
        if failure is None:
            self._waiting.pop(step.name, None)
            self._blocked.pop(step.name, None)
            self._failures.pop(step.name, None)
            return
        if failure.reason:
            self._waiting[step.name] = (failure.reason, failure.message)
        if not failure.retry_at and changes != self._changes:
            return
        now = self._use.clock.time()
        self._blocked[step.name] = failure.retry_at or now + _RETRY.delay(self._count(step.name))

    async def _resize(self, step: steps.ResizeContainer) -> None:
        # Once for each change of the spec: runtimes round what they are told, and would be told again for ever.
        self._resized[step.container_id] = self.pod.metadata.generation
        failure = await self._actions.resize(self.pod, step.container_id, step.name)
        if failure is not None:
            self._blocked[step.name] = self._use.clock.time() + _RETRY.delay(self._count(step.name))

    async def _stop(self, step: steps.StopContainer) -> None:
        """Stop beside the loop; a stop with less grace takes the place of one with more."""
        key = f"stop {step.container_id}"
        if key in self._tasks:
            if self._graces.get(key, 0.0) <= step.grace:
                return
            await self._cancel([key])
        self._graces[key] = step.grace
        self._spawn(key, self._stopping(step))

    async def _stopping(self, step: steps.StopContainer) -> None:
        try:
            await self._actions.stop(self.pod, step, self.found.sandbox)
        except Gone:
            return
        except RuntimeFault as fault:
            _log.warning("cannot stop a container yet", pod=shown(self.pod), container=step.name, error=str(fault))
            await self._use.clock.sleep(_RETRY.delay(self._count("stop")))

    def _unhealthy(self, kind: str, name: str, text: str) -> None:
        self._actions.events(self.pod).container(name, "Unhealthy", text, "Warning")


def _known(pod: Pod) -> dict[str, Verdict]:
    """What probes had found before this kubelet started, as the API remembers it."""
    every = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    return {
        item.container_id.rpartition("//")[2]: Verdict(started=bool(item.started), ready=item.ready)
        for item in every
        if item.container_id
    }


def _duration(value: float) -> str:
    """Seconds as Go prints a duration: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
