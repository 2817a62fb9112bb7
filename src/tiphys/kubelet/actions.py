"""Carrying out steps for one pod: sandbox, volumes, starting and stopping containers.

A failure is never raised to the worker: it becomes the container's waiting reason and the moment of the next try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tiphys.api.errors import ApiError
from tiphys.base.log import Log
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet import environment
from tiphys.kubelet.cdi import Edits, NoSuchDevice, edits
from tiphys.kubelet.containers import Host, Parts, container_spec, sandbox_spec
from tiphys.kubelet.events import PodEvents
from tiphys.kubelet.fields import BadField, Facts
from tiphys.kubelet.handlers import HookFailed, Target
from tiphys.kubelet.images import ImageFailure
from tiphys.kubelet.pod_devices import NotPrepared
from tiphys.kubelet.pod_host import Given
from tiphys.kubelet.resources import container_resources
from tiphys.kubelet.runtime import Gone, PodRuntime, RuntimeFault, Sandbox
from tiphys.kubelet.security import NotAllowed
from tiphys.kubelet.services import Services
from tiphys.kubelet.steps import StartContainer, StopContainer
from tiphys.kubelet.volumes.setup import Inputs, VolumeError

# Upstream's least time to end after a preStop hook used up the grace period.
_LEAST_GRACE = 2.0
SANDBOX_FAILED = "FailedCreatePodSandBox"
NOT_PREPARED = "FailedPrepareDynamicResources"
_log = Log("pods")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a container does not run; `retry_at` is None where the runtime shows an ended container for it."""

    reason: str
    message: str
    retry_at: float | None = None


class Actions:
    """Of one pod; the worker gives the newest pod with every call."""

    def __init__(self, services: Services) -> None:
        self._use = services
        self.paths: Mapping[str, str] | None = None
        self.tokens_due: float | None = None

    def events(self, pod: Pod) -> PodEvents:
        return PodEvents(self._use.recorder, pod)

    def _host(self, pod: Pod) -> Host:
        config = self._use.config
        return Host(str(config.logs), self._use.host.cgroup(pod), config.dns, self._use.memory, config.seccomp_root)

    def facts(self, sandbox: Sandbox | None, pod: Pod) -> Facts:
        hosts = tuple(self._use.config.addresses)
        ips = hosts if pod.spec.host_network else sandbox.ips if sandbox is not None else ()
        return Facts(self._use.config.node_name, hosts, ips, self._use.allocatable)

    async def create_sandbox(self, pod: Pod, attempt: int) -> Failure | None:
        """Sandbox and volumes at the same time."""
        try:
            await self._use.devices.prepare(pod)
        except NotPrepared as error:
            self.events(pod).pod_event(NOT_PREPARED, f"Failed to prepare dynamic resources: {error}", "Warning")
            return Failure(SANDBOX_FAILED, str(error))
        try:
            await self._use.host.make(pod)
            name = pod.spec.runtime_class_name
            handler = await self._use.handler_of(name) if name else ""
            spec = sandbox_spec(pod, attempt, self._host(pod), handler)
            preparing = asyncio.create_task(self.prepare_volumes(pod))
            try:
                await self._use.runtime.run_sandbox(spec)
                return await preparing
            finally:
                preparing.cancel()
        except (RuntimeFault, ApiError, Unreachable, OSError) as error:
            self.events(pod).pod_event(SANDBOX_FAILED, f"Failed to create pod sandbox: {error}", "Warning")
            return Failure(SANDBOX_FAILED, str(error))

    async def prepare_volumes(self, pod: Pod) -> Failure | None:
        """Fetch what the volumes show and make them current."""
        try:
            await self._use.objects.acquire(pod)
            self.tokens_due = await self._use.tokens.fetch(pod)
            lookup = self._use.objects.lookup(pod.metadata.namespace)
            persistent = await self._use.claims.resolve(pod)
            tokens = partial(self._use.tokens.get, pod)
            inputs = Inputs(lookup, self.facts(None, pod), tokens, persistent)
            self.paths = await self._use.host.volumes(pod, inputs)
        except (VolumeError, ApiError, Unreachable, OSError) as error:
            self.events(pod).pod_event("FailedMount", str(error), "Warning")
            return Failure("", str(error))
        return None

    async def start(self, pod: Pod, step: StartContainer, found: PodRuntime) -> Failure | None:
        """Volumes, image, environment, mounts, create, start, postStart hook."""
        container = next(item for item in pod.spec.all_containers() if item.name == step.name)
        sandbox = found.sandbox
        if sandbox is None:
            return Failure("ContainerCreating", "the sandbox is gone")
        events = self.events(pod)
        if self._use.isolate is not None:
            await self._use.isolate(pod, sandbox.ips)
        identifier = await self._create(pod, container, step, found, sandbox)
        if isinstance(identifier, Failure):
            if identifier.reason not in ("", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"):
                events.container(step.name, "Failed", f"Error: {identifier.message}", "Warning")
            return identifier
        events.container(step.name, "Created", f"Created container: {step.name}")
        try:
            await self._use.runtime.start_container(identifier)
        except RuntimeFault as fault:
            events.container(step.name, "Failed", f"Error: {fault}", "Warning")
            return Failure("RunContainerError", str(fault))
        events.container(step.name, "Started", f"Started container {step.name}")
        return await self._post_start(pod, container, identifier, sandbox)

    async def _create(
        self, pod: Pod, container: Container, step: StartContainer, found: PodRuntime, sandbox: Sandbox
    ) -> str | Failure:  # fmt: skip
        """The new container's id, or why there is none."""
        lookup = self._use.objects.lookup(pod.metadata.namespace)
        retry = self._use.clock.time() + 10.0
        try:
            if self.paths is None and (failure := await self.prepare_volumes(pod)) is not None:
                return failure
            image = await self._use.images.ensure(pod, container, lookup, self.events(pod))
            links = self._use.variables(pod.metadata.namespace) if pod.spec.enable_service_links else {}
            facts = self.facts(sandbox, pod)
            env = environment.build(pod, container, links, lookup, facts)
            given = Given(self.paths or {}, env, facts.pod_ips)
            mounts = await self._use.host.mounts(pod, container, step.attempt, given)
            target = found.latest(container.target_container_name) if container.target_container_name else None
            cdi = await self._use.devices.of(pod, container)
            more = Edits() if self._use.knows_cdi else await edits(cdi, self._use.config.cdi)
            parts = Parts(
                image, {**env, **dict(more.env)}, [*mounts, *more.mounts], target.id if target is not None else "",
                more.devices, cdi if self._use.knows_cdi else (),
            )  # fmt: skip
            spec = container_spec(pod, container, step.attempt, parts, self._host(pod))
            whole = sandbox_spec(pod, sandbox.attempt, self._host(pod))
            return await self._use.runtime.create_container(sandbox.id, spec, whole)
        except ImageFailure as failure:
            return Failure(failure.reason, str(failure), failure.retry_at)
        except (environment.MissingSource, BadField, NotAllowed, NoSuchDevice, NotPrepared, VolumeError) as error:
            return Failure("CreateContainerConfigError", str(error), retry)
        except (RuntimeFault, OSError) as error:
            return Failure("CreateContainerError", str(error), retry)

    async def _post_start(
        self, pod: Pod, container: Container, identifier: str, sandbox: Sandbox
    ) -> Failure | None:  # fmt: skip
        if container.lifecycle is None or container.lifecycle.post_start is None:
            return None
        target = self._target(pod, container, identifier, sandbox)
        try:
            await self._use.handlers.hook(target, container.lifecycle.post_start)
            return None
        except HookFailed as error:
            events = self.events(pod)
            events.container(container.name, "FailedPostStartHook", f"PostStartHook failed: {error}", "Warning")
            events.container(container.name, "Killing", "FailedPostStartHook")
            await self._end(identifier, float(pod.spec.termination_grace_period_seconds))
            return Failure("PostStartHookError", str(error))

    def _target(self, pod: Pod, container: Container, identifier: str, sandbox: Sandbox | None) -> Target:
        ips = self.facts(sandbox, pod).pod_ips
        return Target(container, identifier, ips[0] if ips else "127.0.0.1")

    async def stop(self, pod: Pod, step: StopContainer, sandbox: Sandbox | None) -> None:
        """preStop hook, then the signal, all within the grace period."""
        events = self.events(pod)
        events.container(step.name, "Killing", step.message)
        container = next((item for item in pod.spec.all_containers() if item.name == step.name), None)
        left = step.grace
        if container is not None and container.lifecycle is not None and container.lifecycle.pre_stop and left > 0:
            began = self._use.clock.monotonic()
            target = self._target(pod, container, step.container_id, sandbox)
            try:
                async with asyncio.timeout(left):
                    await self._use.handlers.hook(target, container.lifecycle.pre_stop)
            except TimeoutError:
                events.container(step.name, "FailedPreStopHook", "PreStopHook did not end in time", "Warning")
            except HookFailed as error:
                events.container(step.name, "FailedPreStopHook", f"PreStopHook failed: {error}", "Warning")
            left = max(_LEAST_GRACE, left - (self._use.clock.monotonic() - began))
        await self._end(step.container_id, left)

    async def _end(self, identifier: str, grace: float) -> None:
        try:
            await self._use.runtime.stop_container(identifier, grace)
        except Gone:
            return

    async def stop_sandbox(self, sandbox_id: str, *, remove: bool) -> None:
        try:
            await self._use.runtime.stop_sandbox(sandbox_id)
            if remove:
                await self._use.runtime.remove_sandbox(sandbox_id)
        except Gone:
            return

    async def resize(self, pod: Pod, identifier: str, name: str) -> Failure | None:
        """Change the limits of the pod's cgroup and of a running container in it."""
        container = next(item for item in pod.spec.all_containers() if item.name == name)
        try:
            # Growing, the pod's limit must go first; shrinking, the kernel refuses it until the container's has gone.
            with suppress(OSError):
                await self._use.host.make(pod)
            limits = container_resources(pod, container, self._use.memory)
            await self._use.runtime.update_resources(identifier, limits)
            await self._use.host.make(pod)
        except (RuntimeFault, OSError) as error:
            self.events(pod).container(name, "ResizeError", str(error), "Warning")
            return Failure("ResizeError", str(error))
        return None

    async def remove_container(self, identifier: str) -> None:
        try:
            await self._use.runtime.remove_container(identifier)
        except Gone:
            return

    async def release(self, pod: Pod) -> bool:
        """Give back what the pod had, none of whose containers runs any more; False if that has to be tried again."""
        uid = str(pod.metadata.uid)
        try:
            await self._use.devices.release(uid)
        except NotPrepared as error:
            _log.warning("a pod's devices cannot be taken back yet", pod=pod.metadata.key, error=str(error))
            return False
        await self._use.host.release(pod)
        self._use.objects.release(uid)
        self._use.claims.release(uid)
        return True

    async def erase(self, pod: Pod, found: PodRuntime) -> None:
        """The pod is gone from the API: leave nothing of it."""
        for sandbox in found.sandboxes:
            await self.stop_sandbox(sandbox.id, remove=True)
        for container in found.containers:
            await self.remove_container(container.id)
        await self._use.host.remove(pod)
        uid = str(pod.metadata.uid)
        self._use.objects.release(uid)
        self._use.claims.release(uid)
        self._use.tokens.release(uid)
        self._use.images.release(uid)
        self._use.statuses.forget(uid)
