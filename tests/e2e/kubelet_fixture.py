"""A kubelet on the real containerd against an API server in this process: no scheduler, pods name their node."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from runtime_fixture import BUSYBOX, Machine, machine

from tiphys.api.errors import NotFound
from tiphys.api.http import User
from tiphys.base.clock import SystemClock
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcess
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS
from tiphys.kinds.registry import builtin
from tiphys.kubelet.agent import Kubelet
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.cri_runtime import CriRuntime
from tiphys.node import mounts
from tiphys.server.assemble import Settings, assemble
from tiphys.server.bootstrap import bootstrap
from tiphys.store.memory import MemoryStore

NODE = "n1"
_ROOT = User("admin", groups=("system:masters", "system:authenticated"))
_AGENT = User(f"system:node:{NODE}", groups=("system:nodes", "system:authenticated"))


@dataclass
class Cluster:
    host: Machine
    client: Client
    kubelet: Kubelet
    restart: Callable[[], Any]

    async def create(self, name: str, spec: dict[str, Any], **meta: Any) -> None:
        metadata = {"name": name, "namespace": "default", **meta}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": NODE, **spec}}
        await self.client.of(PODS).create(body)

    async def until(self, name: str, wanted: Callable[[dict[str, Any]], bool], within: float = 30.0) -> dict[str, Any]:
        """Watch a pod until it is as wanted; the pod."""
        pods = self.client.of(PODS)
        last: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within):
                last = await pods.get_json(name, "default")
                if wanted(last):
                    return last
                version = last["metadata"]["resourceVersion"]
                async with pods.watch("default", fieldSelector=f"metadata.name={name}", resourceVersion=version) as got:
                    async for _, data in got:
                        last = orjson.loads(data)
                        if wanted(last):
                            return last
        except TimeoutError:
            raise AssertionError(f"pod {name} did not become as wanted; its status: {last.get('status')}") from None
        raise AssertionError("the watch ended")

    async def gone(self, name: str, within: float = 30.0) -> None:
        pods = self.client.of(PODS)
        async with asyncio.timeout(within):
            try:
                last = await pods.get(name, "default")
                query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": last.metadata.resource_version}
                async with pods.watch("default", **query) as got:
                    async for kind, _ in got:
                        if kind == "DELETED":
                            return
            except NotFound:
                return


def running(pod: dict[str, Any]) -> bool:
    return bool(pod["status"].get("phase") == "Running")


def ended(pod: dict[str, Any]) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def one(script: str, **more: Any) -> dict[str, Any]:
    """A pod spec of one container that runs a shell script."""
    container = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", script], **more}
    return {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}


@asynccontextmanager
async def cluster(base: Path, **settings: Any) -> AsyncIterator[Cluster]:
    """`settings` are the kubelet's, besides those that a test machine needs."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(machine(base))
        store = MemoryStore()
        key = ec.generate_private_key(ec.SECP256R1())
        network = ipaddress.ip_network("10.96.0.0/16")
        built = await assemble(store, builtin(), Settings(network, "https://test", key), clock)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        supervisor.start("cache", built.cache.run)
        transport = InProcess(built.server.handle, _ROOT, "test")
        await bootstrap(transport, network)
        client = Client(transport, manager="test")
        meta = {"name": "default", "namespace": "default"}
        await client.of(SERVICE_ACCOUNTS).create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        authority = {"name": "kube-root-ca.crt", "namespace": "default"}
        await client.of(CONFIG_MAPS).create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": authority, "data": {"ca.crt": "none"}}
        )
        # Admission reads the server's cache, which follows the store.
        accounts = built.cache.of("/registry/core/serviceaccounts/")
        while "/registry/core/serviceaccounts/default/default" not in accounts.items:
            await asyncio.sleep(0)
        agent = Client(InProcess(built.server.handle, _AGENT, "kubelet"), manager="kubelet")
        config = KubeletConfig(
            NODE, base / "kubelet", base / "run", base / "logs", ["127.0.0.1"], cgroup_root=host.cgroups.root,
            **settings,
        )  # fmt: skip
        runtime = CriRuntime(host.containerd.endpoint)
        stack.callback(runtime.close)
        task: asyncio.Task[None] | None = None
        kept: dict[str, Kubelet] = {}

        async def restart() -> None:
            nonlocal task
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            kept["kubelet"] = Kubelet(config, agent, runtime, clock)
            task = asyncio.create_task(kept["kubelet"].run())
            if "cluster" in kept:
                made.kubelet = kept["kubelet"]

        await restart()
        made = Cluster(host, client, kept["kubelet"], restart)
        try:
            yield made
        finally:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            # Pods outlive their kubelet, and so do their volumes.
            mounts.unmount_below(str(base))
