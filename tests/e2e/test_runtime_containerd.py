"""The node floor on the real containerd: sandbox, network, container, events, exec, logs; and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from runtime_fixture import BUSYBOX, Machine, machine

from tiphys.node import cri_pb2 as pb
from tiphys.node import mounts, process
from tiphys.node.containerd import Containerd
from tiphys.node.containerd_api import ContainerdApi, TaskEvent
from tiphys.node.cri import Cri
from tiphys.node.images import Images

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def sandbox_config(host: Machine, name: str) -> pb.PodSandboxConfig:
    logs = host.base / "logs" / name
    logs.mkdir(parents=True)
    options = pb.NamespaceOption(pid=pb.CONTAINER)
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default"),
        hostname=name, log_directory=str(logs),
        linux=pb.LinuxPodSandboxConfig(
            cgroup_parent=f"{host.cgroups.root}/kubepods/pod{name}",
            security_context=pb.LinuxSandboxSecurityContext(namespace_options=options),
        ),
    )  # fmt: skip


async def start(cri: Cri, config: pb.PodSandboxConfig, script: str) -> tuple[str, str]:
    sandbox = (await cri.call(pb.RunPodSandboxRequest(config=config))).pod_sandbox_id
    context = pb.LinuxContainerSecurityContext(namespace_options=pb.NamespaceOption(pid=pb.CONTAINER))
    container = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name="main"), image=pb.ImageSpec(image=BUSYBOX), command=["sh", "-c", script],
        log_path="main.log", linux=pb.LinuxContainerConfig(security_context=context),
    )  # fmt: skip
    request = pb.CreateContainerRequest(pod_sandbox_id=sandbox, sandbox_config=config, config=container)
    identifier = (await cri.call(request)).container_id
    await cri.call(pb.StartContainerRequest(container_id=identifier))
    return sandbox, identifier


async def exited(cri: Cri, container: str) -> pb.ContainerStatus:
    """The status after the end: the CRI plugin learns of it at the same time as we do, so it may need a moment."""
    async with asyncio.timeout(20):
        while True:
            status: pb.ContainerStatus = (await cri.call(pb.ContainerStatusRequest(container_id=container))).status
            if status.state == pb.CONTAINER_EXITED:
                return status
            await asyncio.sleep(0)


async def test_a_pod_runs_to_its_exit_and_the_event_tells(tmp_path: Path) -> None:
    async with machine(tmp_path) as host:
        cri, api = Cri(host.containerd.endpoint), ContainerdApi(host.containerd.endpoint)
        exits: asyncio.Queue[TaskEvent] = asyncio.Queue()

        async def watch() -> None:
            async for event in api.events():
                if event.kind == "delete":
                    await exits.put(event)

        watching = asyncio.create_task(watch())
        config = sandbox_config(host, "one")
        sandbox, container = await start(cri, config, "echo hello; while [ ! -e /go ]; do usleep 10000; done; exit 3")
        network = (await cri.call(pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox))).status.network
        assert network.ip.startswith(host.network.pod_cidrs[0].rpartition(".")[0])
        said = await cri.call(pb.ExecSyncRequest(container_id=container, cmd=["sh", "-c", "touch /go; echo out"]))
        assert (said.stdout, said.exit_code) == (b"out\n", 0)
        async with asyncio.timeout(20):
            assert (await exits.get()).container_id == container
        status = await exited(cri, container)
        assert status.exit_code == 3
        assert " stdout F hello" in Path(status.log_path).read_text()
        assert host.cgroups.usage(config.linux.cgroup_parent).memory > 0
        assert len(host.cgroups.processes(config.linux.cgroup_parent)) == 1
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        cri.close()
        api.close()


async def test_nothing_is_left_behind(tmp_path: Path) -> None:
    async with machine(tmp_path) as host:
        cri = Cri(host.containerd.endpoint)
        await start(cri, sandbox_config(host, "two"), "exec sleep 1000")
        cri.close()
    assert not list(process.matching("-address", str(host.containerd.config.socket)))
    assert not mounts.mounted(str(tmp_path))
    assert not host.cgroups.processes(host.cgroups.root)
    assert not list(Path("/sys/fs/cgroup").glob(f"*{host.cgroups.root}"))
    assert not Path("/sys/class/net", host.network.bridge).exists()
    assert not host.containerd.config.state.exists()


async def test_containers_survive_the_death_of_containerd(tmp_path: Path) -> None:
    async with machine(tmp_path) as host:
        cri = Cri(host.containerd.endpoint)
        _, container = await start(cri, sandbox_config(host, "three"), "exec sleep 1000")
        identity = process.load(host.containerd.config.pidfile)
        assert identity is not None
        identity.signal(signal.SIGKILL)
        await identity.wait()
        again = Containerd(host.containerd.config)
        await again.ensure()
        status = (await cri.call(pb.ContainerStatusRequest(container_id=container))).status
        assert status.state == pb.CONTAINER_RUNNING
        cri.close()
    assert not list(process.matching("--config", str(host.containerd.config.file)))


async def test_a_build_adds_files_and_settings_to_a_local_base(tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "page").write_text("built\n")
    (context / "Dockerfile").write_text(f'FROM {BUSYBOX}\nENV WHO=me\nCOPY page /srv/page\nCMD ["cat", "/srv/page"]\n')
    async with machine(tmp_path / "m") as host:
        images = Images(host.containerd.endpoint)
        assert await images.build(str(context), "local/page") == "docker.io/local/page:latest"
        assert "docker.io/local/page:latest" in [name for image in await images.list() for name in image.names]
        images.close()
