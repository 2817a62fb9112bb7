"""`Runtime` over CRI, for containerd and any other runtime that speaks it.

Facts that cannot change (an exited container's status, a sandbox's addresses) are asked once and kept, so observing a
pod is two calls in parallel. A container's end is told only after the runtime's own table shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.grpc import RpcError, RpcNotFound
from tiphys.kubelet import cri_messages as messages
from tiphys.kubelet.runtime import (
    POD_NAME,
    POD_NAMESPACE,
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
)
from tiphys.node import cri_pb2 as pb
from tiphys.node.containerd_api import ContainerdApi
from tiphys.node.cri import PULL_TIMEOUT, Cri

_NANO = 1e9
# How soon after an exit event the runtime's table is asked again: usually it is there at the second look.
_CONFIRM = Backoff(initial=0.002, maximum=0.2, factor=1.6)
_CONFIRM_TRIES = 40
# About a second: other events wait meanwhile.
_SHOW_TRIES = 12
_SLOP = 15.0


@contextmanager
def _faults() -> Any:
    try:
        yield
    except RpcNotFound as error:
        raise Gone(error.message) from error
    except RpcError as error:
        raise RuntimeFault(error.message, retriable=error.code != "INVALID_ARGUMENT") from error


class CriRuntime:
    def __init__(self, endpoint: str, clock: Clock | None = None) -> None:
        self._cri = Cri(endpoint)
        self._clock = clock or SystemClock()
        # container or sandbox id -> pod uid, for events, which name ids only.
        self._owners: dict[str, str] = {}
        self._settled: dict[str, Container] = {}
        self._ips: dict[str, tuple[str, ...]] = {}

    def close(self) -> None:
        self._cri.close()

    async def _call(self, request: Any, within: float = 120.0) -> Any:
        with _faults():
            return await self._cri.call(request, within=within)

    async def info(self) -> RuntimeInfo:
        version, status = await asyncio.gather(self._call(pb.VersionRequest()), self._call(pb.StatusRequest()))
        conditions = {condition.type: condition for condition in status.status.conditions}
        wrong = [f"{c.reason}: {c.message}" for c in conditions.values() if not c.status]
        return RuntimeInfo(
            version.runtime_name, version.runtime_version,
            "RuntimeReady" not in conditions or conditions["RuntimeReady"].status,
            "NetworkReady" not in conditions or conditions["NetworkReady"].status,
            "; ".join(wrong), tuple(handler.name for handler in status.runtime_handlers),
        )  # fmt: skip

    async def pods(self) -> Mapping[str, PodRuntime]:
        sandboxes, containers = await asyncio.gather(
            self._call(pb.ListPodSandboxRequest()), self._call(pb.ListContainersRequest())
        )
        found: dict[str, tuple[list[Sandbox], list[Container]]] = {}
        for item in sandboxes.items:
            sandbox = messages.sandbox(item, ())
            self._owners[sandbox.id] = sandbox.uid
            found.setdefault(sandbox.uid, ([], []))[0].append(sandbox)
        for item in containers.containers:
            container = messages.listed_container(item)
            self._owners[container.id] = container.uid
            found.setdefault(container.uid, ([], []))[1].append(container)
        self._forget({item.id for item in containers.containers} | {item.id for item in sandboxes.items})
        return {uid: _ordered(*parts) for uid, parts in found.items()}

    def _forget(self, known: set[str]) -> None:
        for table in (self._owners, self._settled, self._ips):
            for key in [key for key in table if key not in known]:
                del table[key]

    async def observe(self, uid: str) -> PodRuntime:
        labels = {POD_UID: uid}
        sandboxes, containers = await asyncio.gather(
            self._call(pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=labels))),
            self._call(pb.ListContainersRequest(filter=pb.ContainerFilter(label_selector=labels))),
        )
        boxes, parts = await asyncio.gather(
            asyncio.gather(*(self._sandbox(item) for item in sandboxes.items)),
            asyncio.gather(*(self._container(item) for item in containers.containers)),
        )
        return _ordered([box for box in boxes if box is not None], [part for part in parts if part is not None])

    async def _sandbox(self, item: pb.PodSandbox) -> Sandbox | None:
        self._owners[item.id] = item.labels.get(POD_UID, "")
        ready = item.state == pb.SANDBOX_READY
        if item.id not in self._ips and ready:
            try:
                answer = await self._call(pb.PodSandboxStatusRequest(pod_sandbox_id=item.id))
            except Gone:
                return None
            network = answer.status.network
            found = [network.ip, *(extra.ip for extra in network.additional_ips)]
            self._ips[item.id] = tuple(ip for ip in found if ip)
        return messages.sandbox(item, self._ips.get(item.id, ()) if ready else ())

    async def _container(self, item: pb.Container) -> Container | None:
        self._owners[item.id] = item.labels.get(POD_UID, "")
        state = messages.STATES[item.state]
        known = self._settled.get(item.id)
        # A container only moves forward, so what was learned in its present state still holds.
        if known is not None and known.state is state:
            return known
        try:
            answer = await self._call(pb.ContainerStatusRequest(container_id=item.id))
        except Gone:
            return None
        container = messages.container(item, answer.status)
        self._settled[item.id] = container
        return container

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        """containerd's task events where it has them, else CRI's own container events."""
        api = ContainerdApi(self._cri.endpoint)
        try:
            with _faults():
                async for event in api.events():
                    if event.kind == "subscribed":
                        # What happened until now, nobody was told.
                        yield RuntimeEvent("")
                    if event.kind == "image" and await self._shows(event.container_id):
                        yield RuntimeEvent("", event.container_id)
                    uid = self._owners.get(event.container_id, "")
                    if event.kind == "delete":
                        await self._confirm(event.container_id)
                    # A start of ours wakes nobody: who started it looks at it anyway.
                    if uid and event.kind != "start":
                        yield RuntimeEvent(uid)
        except RuntimeFault as fault:
            if not isinstance(fault.__cause__, RpcError) or fault.__cause__.code != "UNIMPLEMENTED":
                raise
            yield RuntimeEvent("")
            async for told in self._cri_events():
                yield told
        finally:
            api.close()

    async def _cri_events(self) -> AsyncIterator[RuntimeEvent]:
        with _faults():
            async for event in self._cri.events():
                uid = event.pod_sandbox_status.metadata.uid or self._owners.get(event.container_id, "")
                if uid:
                    yield RuntimeEvent(uid)

    async def _shows(self, image: str) -> bool:
        """Wait until the runtime's CRI has the image that its event told of."""
        for attempt in range(_SHOW_TRIES):
            try:
                if await self.image(image) is not None:
                    return True
            except RuntimeFault:
                return False
            await self._clock.sleep(_CONFIRM.delay(attempt))
        return False

    async def _confirm(self, identifier: str) -> None:
        """Wait until the runtime's table shows the end that its event told."""
        request = pb.ListContainersRequest(filter=pb.ContainerFilter(id=identifier))
        for attempt in range(_CONFIRM_TRIES):
            try:
                found = (await self._call(request)).containers
            except RuntimeFault:
                return
            if not found or found[0].state != pb.CONTAINER_RUNNING:
                return
            await self._clock.sleep(_CONFIRM.delay(attempt))

    async def run_sandbox(self, spec: SandboxSpec) -> str:
        request = pb.RunPodSandboxRequest(config=messages.sandbox_config(spec), runtime_handler=spec.handler)
        identifier: str = (await self._call(request)).pod_sandbox_id
        self._owners[identifier] = spec.uid
        return identifier

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._call(pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._call(pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def create_container(self, sandbox_id: str, spec: ContainerSpec, sandbox: SandboxSpec) -> str:
        request = pb.CreateContainerRequest(
            pod_sandbox_id=sandbox_id, config=messages.container_config(spec, sandbox),
            sandbox_config=messages.sandbox_config(sandbox),
        )  # fmt: skip
        identifier: str = (await self._call(request)).container_id
        self._owners[identifier] = sandbox.uid
        return identifier

    async def start_container(self, container_id: str) -> None:
        await self._call(pb.StartContainerRequest(container_id=container_id))

    async def stop_container(self, container_id: str, grace: float) -> None:
        request = pb.StopContainerRequest(container_id=container_id, timeout=max(0, round(grace)))
        await self._call(request, grace + 120.0)

    async def remove_container(self, container_id: str) -> None:
        await self._call(pb.RemoveContainerRequest(container_id=container_id))

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        linux = messages.resources(resources)
        await self._call(pb.UpdateContainerResourcesRequest(container_id=container_id, linux=linux))
        self._settled.pop(container_id, None)

    async def reopen_log(self, container_id: str) -> None:
        await self._call(pb.ReopenContainerLogRequest(container_id=container_id))

    async def exec_sync(self, container_id: str, command: Sequence[str], within: float) -> ExecResult:
        request = pb.ExecSyncRequest(container_id=container_id, cmd=command, timeout=max(0, round(within)))
        try:
            answer = await self._cri.call(request, within=(within or 3600.0) + _SLOP)
        except RpcError as error:
            if error.code == "DEADLINE_EXCEEDED":
                raise TimeoutError(f"command {command[0]!r} timed out after {within:g}s") from error
            raise (Gone if isinstance(error, RpcNotFound) else RuntimeFault)(error.message) from error
        return ExecResult(answer.exit_code, answer.stdout, answer.stderr)

    async def exec_url(self, container_id: str, options: ExecOptions) -> str:
        url: str = (await self._call(pb.ExecRequest(
            container_id=container_id, cmd=options.command, tty=options.tty, stdin=options.stdin,
            stdout=options.stdout, stderr=options.stderr and not options.tty,
        ))).url  # fmt: skip
        return url

    async def attach_url(self, container_id: str, options: ExecOptions) -> str:
        url: str = (await self._call(pb.AttachRequest(
            container_id=container_id, tty=options.tty, stdin=options.stdin,
            stdout=options.stdout, stderr=options.stderr and not options.tty,
        ))).url  # fmt: skip
        return url

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        url: str = (await self._call(pb.PortForwardRequest(pod_sandbox_id=sandbox_id, port=ports))).url
        return url

    async def image(self, name: str) -> Image | None:
        answer = await self._call(pb.ImageStatusRequest(image=pb.ImageSpec(image=name)))
        return messages.image(answer.image) if answer.HasField("image") else None

    async def images(self) -> Sequence[Image]:
        return [messages.image(item) for item in (await self._call(pb.ListImagesRequest())).images]

    async def pull_image(self, name: str, credentials: Credentials | None = None) -> str:
        auth = None
        if credentials is not None:
            auth = pb.AuthConfig(
                username=credentials.username, password=credentials.password, auth=credentials.auth,
                server_address=credentials.server, identity_token=credentials.identity_token,
            )  # fmt: skip
        request = pb.PullImageRequest(image=pb.ImageSpec(image=name), auth=auth)
        reference: str = (await self._call(request, PULL_TIMEOUT)).image_ref
        return reference

    async def remove_image(self, name: str) -> None:
        await self._call(pb.RemoveImageRequest(image=pb.ImageSpec(image=name)))

    async def usage(self) -> Sequence[ContainerUsage]:
        found = []
        for item in (await self._call(pb.ListContainerStatsRequest())).stats:
            labels, memory, layer = item.attributes.labels, item.memory, item.writable_layer
            found.append(ContainerUsage(
                item.attributes.id, labels.get(POD_UID, ""), labels.get(POD_NAME, ""), labels.get(POD_NAMESPACE, ""),
                item.attributes.metadata.name, item.cpu.timestamp / _NANO, item.cpu.usage_core_nano_seconds.value,
                memory.working_set_bytes.value, memory.usage_bytes.value or memory.working_set_bytes.value,
                memory.rss_bytes.value, layer.used_bytes.value, layer.inodes_used.value,
            ))  # fmt: skip
        return found


def _ordered(sandboxes: list[Sandbox], containers: list[Container]) -> PodRuntime:
    return PodRuntime(
        tuple(sorted(sandboxes, key=lambda item: (item.attempt, item.created_at), reverse=True)),
        tuple(sorted(containers, key=lambda item: (item.created_at, item.attempt), reverse=True)),
    )


