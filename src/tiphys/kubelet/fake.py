"""`Runtime` without containers: for tests on a virtual clock, and for simulated nodes.

A container "runs" as its behaviour says: for ever, or to an exit after some seconds. Behaviour comes from the pod's
annotations, so that users of simulated clusters can have pods that fail: `tiphys.io/exit-after`, `tiphys.io/exit-code`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tiphys.base.clock import Clock
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

EXIT_AFTER, EXIT_CODE = "tiphys.io/exit-after", "tiphys.io/exit-code"
_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class Behaviour:
    """After `exit_after` seconds (None: never) it ends with `exit_code`; `ignores_term` makes it use all its grace."""

    exit_after: float | None = None
    exit_code: int = 0
    ignores_term: bool = False


def annotated(spec: ContainerSpec, sandbox: SandboxSpec) -> Behaviour:
    """What the pod's annotations say."""
    after = sandbox.annotations.get(EXIT_AFTER)
    return Behaviour(None if after is None else float(after), int(sandbox.annotations.get(EXIT_CODE, "0")))


Behave = Callable[[ContainerSpec, SandboxSpec], Behaviour]


class FakeRuntime:
    """`start_delay` seconds pass in making a sandbox and in starting a container; addresses are handed out in turn."""

    def __init__(
        self, clock: Clock, *, start_delay: float = 0.0, behave: Behave = annotated, subnet: str = "10.0.0"
    ) -> None:  # fmt: skip
        self._clock, self._delay, self._behave, self._subnet = clock, start_delay, behave, subnet
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

    async def info(self) -> RuntimeInfo:
        return RuntimeInfo("fake", "1")

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
        await self._clock.sleep(self._delay)
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
        del self._sandboxes[sandbox_id]
        for identifier in [c.id for c in self._containers.values() if c.sandbox_id == sandbox_id]:
            await self.remove_container(identifier)

    async def create_container(self, sandbox_id: str, spec: ContainerSpec, sandbox: SandboxSpec) -> str:
        self._sandbox(sandbox_id)
        identifier = f"container-{next(self._numbers)}"
        self._containers[identifier] = Container(
            identifier, sandbox_id, spec.labels.get(POD_UID, sandbox.uid), spec.name, spec.attempt, State.CREATED,
            self._clock.time(), image=spec.image, image_id=f"fake:{spec.image}", annotations=spec.annotations,
            resources=spec.resources,
        )  # fmt: skip
        self._behaviours[identifier] = self._behave(spec, sandbox)
        self.specs[spec.name] = spec
        return identifier

    async def start_container(self, container_id: str) -> None:
        self._container(container_id)
        await self._clock.sleep(self._delay)
        container = self._container(container_id)
        self._containers[container_id] = replace(container, state=State.RUNNING, started_at=self._clock.time())
        after = self._behaviours[container_id].exit_after
        if after is not None:
            code = self._behaviours[container_id].exit_code
            self._ends[container_id] = asyncio.create_task(self._later(container_id, after, code))

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
        if self._behaviours[container_id].ignores_term:
            await self._clock.sleep(grace)
            self._finish(container_id, 137)
        else:
            self._finish(container_id, 143 if grace > 0 else 137)
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
