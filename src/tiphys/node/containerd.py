"""A private containerd for one node: configured, started, kept, adopted after our own restart, removed without a trace.

It runs in a session of its own, and its shims keep the containers, so neither our death nor its own touches a pod.
Everything it writes lies under two directories; everything it starts names its socket, which is how `destroy` finds it.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.grpc import RpcError, RpcNotFound
from tiphys.base.log import Log
from tiphys.node import cni, mounts, process
from tiphys.node import cri_pb2 as pb
from tiphys.node.cgroups import Cgroups
from tiphys.node.cri import Cri
from tiphys.node.images import PAUSE_IMAGE
from tiphys.node.oci import normalize

_log = Log("containerd")
_PROBE = Backoff(initial=0.004, maximum=0.1, factor=1.3)
_RESTART = Backoff(initial=0.2, maximum=10.0)
_READY_SECONDS = 60.0
_STOP_SECONDS = 5.0
# Every plugin that starts costs time at `up`; none of these serves a pod.
_DISABLED = (
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.blockfile", "io.containerd.internal.v1.restart", "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.nri.v1.nri", "io.containerd.monitor.v1.cgroups",
)  # fmt: skip


class ContainerdError(Exception):
    """containerd is missing, does not start, or cannot be removed; the message says which, and where its log is."""


@dataclass(frozen=True, slots=True)
class ContainerdConfig:
    """`root` keeps images and snapshots, `state` sockets and running containers; `cgroup_root` as in `Cgroups`."""

    root: Path
    state: Path
    cni_conf: Path
    cgroup_root: str
    # Host and mirrors per registry: containerd's `config_path` layout, or None for its defaults.
    registry_config: Path | None = None
    binary: str = "containerd"
    sandbox_image: str = PAUSE_IMAGE

    @property
    def socket(self) -> Path:
        return self.state / "containerd.sock"

    @property
    def pidfile(self) -> Path:
        return self.state / "containerd.pid"

    @property
    def file(self) -> Path:
        return self.state / "containerd.toml"

    @property
    def log(self) -> Path:
        return self.root / "containerd.log"


def render(config: ContainerdConfig, snapshotter: str, cni_bin: str) -> str:
    """config.toml, version 2, which containerd 1.6 to 2.x read. A JSON string is a TOML string too."""

    def text(value: object) -> str:
        return orjson.dumps(str(value)).decode()

    cri = '[plugins."io.containerd.grpc.v1.cri"'
    lines = [
        "version = 2",
        f"root = {text(config.root / 'containerd')}",
        f"state = {text(config.state / 'containerd')}",
        f"disabled_plugins = {orjson.dumps(_DISABLED).decode()}",
        "[grpc]", f"address = {text(config.socket)}",
        f"{cri}]", f"sandbox_image = {text(normalize(config.sandbox_image))}",
        'stream_server_address = "127.0.0.1"', 'stream_server_port = "0"',
        # Without CAP_SYS_RESOURCE (in a container, in CI) a negative oom_score_adj cannot be written.
        "restrict_oom_score_adj = true", "netns_mounts_under_state_dir = true",
        "enable_unprivileged_ports = true", "enable_unprivileged_icmp = true",
        f"{cri}.containerd]", f"snapshotter = {text(snapshotter)}", 'default_runtime_name = "runc"',
        f"{cri}.containerd.runtimes.runc]", 'runtime_type = "io.containerd.runc.v2"',
        f"{cri}.containerd.runtimes.runc.options]", "SystemdCgroup = false", f"Root = {text(config.state / 'runc')}",
        f"{cri}.cni]", f"conf_dir = {text(config.cni_conf)}", f"bin_dir = {text(cni_bin)}",
    ]  # fmt: skip
    if config.registry_config is not None:
        lines += [f"{cri}.registry]", f"config_path = {text(config.registry_config)}"]
    return "\n".join(lines) + "\n"


class Containerd:
    """Start with `ensure`, keep with `keep` (for ever), end with `stop` (pods stay) or `destroy` (nothing stays)."""

    def __init__(self, config: ContainerdConfig, clock: Clock | None = None) -> None:
        self.config = config
        self._clock = clock or SystemClock()
        self._identity: process.Identity | None = None

    @property
    def endpoint(self) -> str:
        return str(self.config.socket)

    async def ensure(self) -> None:
        """Adopt the running containerd or start one; returns when its CRI answers. Raises ContainerdError."""
        self._identity = await asyncio.to_thread(process.load, self.config.pidfile)
        if self._identity is None:
            self._identity = await asyncio.to_thread(self._start)
        await self._ready(self._identity)

    async def keep(self) -> None:
        """Start containerd again whenever it ends. Runs until cancelled."""
        failures = 0
        while True:
            if self._identity is None:
                await self.ensure()
            began = self._clock.monotonic()
            if self._identity is not None:
                await self._identity.wait()
            failures = 0 if self._clock.monotonic() - began > _READY_SECONDS else failures + 1
            _log.warning("containerd ended, starting it again; pods keep running", log=str(self.config.log))
            await self._clock.sleep(_RESTART.delay(failures))
            self._identity = None

    def _start(self) -> process.Identity:
        config = self.config
        for directory in (config.root, config.state, config.cni_conf):
            directory.mkdir(parents=True, exist_ok=True)
        snapshotter = "overlayfs" if mounts.overlay_works(str(config.root)) else "native"
        config.file.write_text(render(config, snapshotter, cni.plugin_directory()))
        config.socket.unlink(missing_ok=True)
        binary = shutil.which(config.binary)
        if binary is None:
            raise ContainerdError(f"{config.binary} is not installed: install containerd, or give a runtime endpoint")
        identity = process.spawn([binary, "--config", str(config.file), "--log-level", "warn"], config.log)
        identity.save(config.pidfile)
        return identity

    async def _ready(self, identity: process.Identity) -> None:
        """Wait until CRI answers. Its server says nothing when it becomes ready, so it is asked, ever more slowly."""
        deadline = self._clock.monotonic() + _READY_SECONDS
        cri = Cri(self.endpoint)
        try:
            attempt = 0
            while True:
                try:
                    await cri.call(pb.VersionRequest(), within=5.0)
                    return
                except RpcError as error:
                    if not identity.alive:
                        raise ContainerdError(f"containerd ended while starting; see {self.config.log}") from error
                    if error.code == "UNIMPLEMENTED":
                        raise ContainerdError(f"containerd lacks its CRI plugin; see {self.config.log}") from error
                    if self._clock.monotonic() > deadline:
                        raise ContainerdError(f"containerd does not answer: {error}; see {self.config.log}") from error
                await self._clock.sleep(_PROBE.delay(attempt))
                attempt += 1
        finally:
            cri.close()

    async def stop(self) -> None:
        """End containerd; containers and their shims keep running, to be adopted by the next `ensure`."""
        # The pidfile, not our memory: another process may have started it again since.
        identity = await asyncio.to_thread(process.load, self.config.pidfile)
        if identity is not None:
            await identity.stop(_STOP_SECONDS)
        self._identity = None
        self.config.pidfile.unlink(missing_ok=True)

    async def destroy(self, *, purge: bool = True) -> None:
        """Remove every pod, then containerd, its shims, mounts, cgroups and state; with `purge`, its images too."""
        if await asyncio.to_thread(process.load, self.config.pidfile) is not None:
            await self._remove_pods()
        await self.stop()
        await self._kill_shims()
        await asyncio.to_thread(self._erase, purge)

    async def _remove_pods(self) -> None:
        """Ask the runtime, which undoes networks and mounts in order; what fails is swept up afterwards."""
        cri = Cri(self.endpoint)
        try:
            sandboxes = (await cri.call(pb.ListPodSandboxRequest(), within=10.0)).items
            await asyncio.gather(*(self._remove_pod(cri, sandbox.id) for sandbox in sandboxes))
        except RpcError as error:
            _log.warning("cannot list the pods to remove; sweeping up what is left of them", error=str(error))
        finally:
            cri.close()

    async def _remove_pod(self, cri: Cri, sandbox: str) -> None:
        try:
            await cri.call(pb.StopPodSandboxRequest(pod_sandbox_id=sandbox), within=30.0)
            await cri.call(pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox), within=30.0)
        except RpcNotFound:
            return
        except RpcError as error:
            _log.warning("cannot remove a pod; sweeping up what is left of it", sandbox=sandbox, error=str(error))

    async def _kill_shims(self) -> None:
        found: Sequence[process.Identity] = await asyncio.to_thread(
            lambda: list(process.matching("-address", str(self.config.socket)))
        )
        cgroups = Cgroups(self.config.cgroup_root)
        await asyncio.to_thread(cgroups.kill, cgroups.root)
        for shim in found:
            shim.signal(signal.SIGKILL)
        await asyncio.gather(*(shim.wait() for shim in found))
        for attempt in range(50):
            if await asyncio.to_thread(cgroups.remove, cgroups.root):
                return
            # Killed processes leave their cgroup a moment after the signal.
            await self._clock.sleep(_PROBE.delay(attempt))
        raise ContainerdError(f"processes are still in cgroup {cgroups.root}: cannot remove it")

    def _erase(self, purge: bool) -> None:
        for address in self.config.state.glob("containerd/io.containerd.runtime.v2.task/*/*/address"):
            Path(address.read_text().strip().removeprefix("unix://")).unlink(missing_ok=True)
        mounts.unmount_below(str(self.config.state))
        mounts.unmount_below(str(self.config.root))
        if self.config.state.exists():
            shutil.rmtree(self.config.state)
        shutil.rmtree(self.config.cni_conf, ignore_errors=True)
        if purge:
            shutil.rmtree(self.config.root, ignore_errors=True)
