"""`Runtime` without containers: for tests on a virtual clock, and for simulated nodes.

A container "runs" as its behaviour says: for ever, or to an exit after some seconds; see `kubelet/behaviour.py`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

from tiphys.base.clock import Clock
from tiphys.kubelet.behaviour import CALM, CREATE, IMAGE, START, Behaviour, Behaviours, Chance
from tiphys.kubelet.runtime import (
    POD_UID,
    Container,
    ContainerSpec,
    ContainerUsage,
    Credentials,
    ExecOptions,
    ExecResult,
    Gone,
    Image,
    PodRuntime,
    Resources,
    RuntimeEvent,
    RuntimeFault,
    RuntimeInfo,
    Sandbox,
    SandboxSpec,
    State,
)

_EVENTS = 10_000
# What runc says of a command that is not there, and the code that containerd gives a container which did not start.
_NO_COMMAND = 'failed to create containerd task: exec: "{}": executable file not found in $PATH'
_NOT_STARTED = 128
Behave = Callable[[ContainerSpec, SandboxSpec], Behaviour]


class FakeRuntime:
    """`behaviours.start_delay` passes in making a sandbox and in starting a container; addresses are given in turn.

    `behave` says what each container does instead of `behaviours` and annotations; `node` seeds their chance.
    """

    def __init__(
        self, clock: Clock, *, behaviours: Behaviours = CALM, behave: Behave | None = None,
        subnet: str = "10.0.0", node: str = "",
    ) -> None:  # fmt: skip
        self._clock, self._behave, self._subnet = clock, behave or self._annotated, subnet
        self.behaviours, self.chance = behaviours, Chance(behaviours, node)
        self._down = ""
        self._sandboxes: dict[str, Sandbox] = {}
        self._containers: dict[str, Container] = {}
        self._behaviours: dict[str, Behaviour] = {}
        self._ends: dict[str, asyncio.Task[None]] = {}
        self._events: asyncio.Queue[RuntimeEvent] = asyncio.Queue(_EVENTS)
        self._numbers = itertools.count(1)
        self._missing: set[str] = set()
        # The newest spec of each container name, for tests that look at what was asked for.
        self.specs: dict[str, ContainerSpec] = {}
        self.pulled: list[str] = []

    def without_image(self, name: str) -> None:
        """From now on the image is neither here nor to be had."""
        self._missing.add(name)

    def lacks_images(self, uid: str, annotations: Mapping[str, str]) -> bool:
        """Whether a pod is one that cannot have its images."""
        return self.chance.fault(uid, annotations) == IMAGE

    def break_down(self, why: str) -> None:
        """From now on, until this is called with "", the runtime is not ready, and says why."""
        self._down = why

    def _annotated(self, spec: ContainerSpec, sandbox: SandboxSpec) -> Behaviour:
        try:
            return self.chance.behaviour(sandbox.uid, sandbox.annotations)
        except ValueError as error:
            raise RuntimeFault(f"an annotation tiphys.io/... of the pod cannot be understood: {error}") from None

    async def info(self) -> RuntimeInfo:
        return RuntimeInfo("fake", "1", ready=not self._down, message=self._down)

    async def pods(self) -> Mapping[str, PodRuntime]:
        uids = {box.uid for box in self._sandboxes.values()} | {part.uid for part in self._containers.values()}
        return {uid: await self.observe(uid) for uid in uids}

    async def observe(self, uid: str) -> PodRuntime:
        boxes = sorted((s for s in self._sandboxes.values() if s.uid == uid), key=lambda s: -s.attempt)
        parts = [c for c in self._containers.values() if c.uid == uid]
        # Newest first, by order of creation.
        return PodRuntime(tuple(boxes), tuple(reversed(parts)))

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        yield RuntimeEvent("")
        while True:
            yield await self._events.get()

    def _happened(self, uid: str) -> None:
        if self._events.full():
            # Whoever is this late looks at everything instead.
            while not self._events.empty():
                self._events.get_nowait()
            uid = ""
        self._events.put_nowait(RuntimeEvent(uid))

    async def run_sandbox(self, spec: SandboxSpec) -> str:
        self.chance.meet(spec.uid)
        await self._clock.sleep(self.chance.draw(self.behaviours.start_delay))
        number = next(self._numbers)
        identifier = f"sandbox-{number}"
        ips = () if spec.host_network else (f"{self._subnet}.{number % 254 + 1}",)
        self._sandboxes[identifier] = Sandbox(
            identifier, spec.uid, spec.name, spec.namespace, spec.attempt, True, self._clock.time(), ips
        )
        return identifier

    async def stop_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._sandbox(sandbox_id)
        for container in [c for c in self._containers.values() if c.sandbox_id == sandbox_id and c.running]:
            self._finish(container.id, 137)
        self._sandboxes[sandbox_id] = replace(sandbox, ready=False, ips=())

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        uid = self._sandboxes.pop(sandbox_id).uid
        if not any(sandbox.uid == uid for sandbox in self._sandboxes.values()):
            self.chance.forget(uid)
        for identifier in [c.id for c in self._containers.values() if c.sandbox_id == sandbox_id]:
            await self.remove_container(identifier)

    async def create_container(self, sandbox_id: str, spec: ContainerSpec, sandbox: SandboxSpec) -> str:
        self._sandbox(sandbox_id)
        behaviour = self._behave(spec, sandbox)
        if behaviour.fault == CREATE:
            raise RuntimeFault(f'failed to reserve container name "{spec.name}_{sandbox.name}_{sandbox.namespace}"')
        identifier = f"container-{next(self._numbers)}"
        self._containers[identifier] = Container(
            identifier, sandbox_id, spec.labels.get(POD_UID, sandbox.uid), spec.name, spec.attempt, State.CREATED,
            self._clock.time(), image=spec.image, image_id=f"fake:{spec.image}", annotations=spec.annotations,
            resources=spec.resources,
        )  # fmt: skip
        self._behaviours[identifier] = behaviour
        self.specs[spec.name] = spec
        return identifier

    async def start_container(self, container_id: str) -> None:
        self._container(container_id)
        behaviour = self._behaviours[container_id]
        delay = behaviour.start_delay
        await self._clock.sleep(self.chance.draw(self.behaviours.start_delay) if delay is None else delay)
        container = self._container(container_id)
        if behaviour.fault == START:
            self._finish(container_id, _NOT_STARTED, "StartError")
            raise RuntimeFault(_NO_COMMAND.format(container.name))
        self._containers[container_id] = replace(container, state=State.RUNNING, started_at=self._clock.time())
        if behaviour.exit_after is not None:
            end = self._later(container_id, behaviour.exit_after, behaviour.exit_code)
            self._ends[container_id] = asyncio.create_task(end)

    async def _later(self, identifier: str, seconds: float, code: int) -> None:
        await self._clock.sleep(seconds)
        self._ends.pop(identifier, None)
        self.exit(identifier, code)

    def exit(self, identifier: str, code: int, reason: str = "") -> None:
        """Make a running container end now, and tell."""
        if self._containers[identifier].running:
            self._finish(identifier, code, reason)
            self._happened(self._containers[identifier].uid)

    def _finish(self, identifier: str, code: int, reason: str = "") -> None:
        task = self._ends.pop(identifier, None)
        if task is not None:
            task.cancel()
        self._containers[identifier] = replace(
            self._containers[identifier], state=State.EXITED, exit_code=code, finished_at=self._clock.time(),
            reason=reason or ("Completed" if code == 0 else "Error"),
        )  # fmt: skip

    async def stop_container(self, container_id: str, grace: float) -> None:
        container = self._container(container_id)
        if not container.running:
            return
        behaviour = self._behaviours[container_id]
        needs = grace if behaviour.ignores_term else min(behaviour.stop_delay, grace)
        if needs:
            await self._clock.sleep(needs)
        killed = behaviour.ignores_term or grace <= behaviour.stop_delay
        self._finish(container_id, 137 if killed else 143)
        self._happened(container.uid)

    async def remove_container(self, container_id: str) -> None:
        container = self._container(container_id)
        if container.running:
            self._finish(container_id, 137)
        del self._containers[container_id]
        self._behaviours.pop(container_id, None)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        self._containers[container_id] = replace(self._container(container_id), resources=resources)

    async def reopen_log(self, container_id: str) -> None:
        self._container(container_id)

    async def exec_sync(self, container_id: str, command: Sequence[str], within: float) -> ExecResult:
        if not self._container(container_id).running:
            raise RuntimeFault(f"container {container_id} is not running")
        return ExecResult(0, b"", b"")

    async def exec_url(self, container_id: str, options: ExecOptions) -> str:
        raise RuntimeFault("a simulated container has no processes", retriable=False)

    async def attach_url(self, container_id: str, options: ExecOptions) -> str:
        raise RuntimeFault("a simulated container has no processes", retriable=False)

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        raise RuntimeFault("a simulated pod has no network", retriable=False)

    async def image(self, name: str) -> Image | None:
        return None if name in self._missing else Image(name, (name,))

    async def images(self) -> Sequence[Image]:
        return []

    async def pull_image(self, name: str, credentials: Credentials | None = None) -> str:
        if name in self._missing:
            raise RuntimeFault(f"failed to pull and unpack image {name!r}: not found")
        self.pulled.append(name)
        return name

    async def remove_image(self, name: str) -> None:
        self._missing.add(name)

    async def usage(self) -> Sequence[ContainerUsage]:
        now = self._clock.time()
        return [
            ContainerUsage(c.id, c.uid, "", "", c.name, now, round((now - c.started_at) * 1e7), 16 << 20)
            for c in self._containers.values()
            if c.running
        ]

    def _sandbox(self, identifier: str) -> Sandbox:
        if identifier not in self._sandboxes:
            raise Gone(f"sandbox {identifier} does not exist")
        return self._sandboxes[identifier]

    def _container(self, identifier: str) -> Container:
        if identifier not in self._containers:
            raise Gone(f"container {identifier} does not exist")
        return self._containers[identifier]
