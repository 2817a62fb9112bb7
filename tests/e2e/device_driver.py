"""A driver of dynamic resources as the kubelet meets it: registration and preparation over gRPC, devices by CDI."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Server, Stream

from tiphys.node import plugins_pb2 as pb

NAME = "gpu.example.com"


class Driver:
    """It has the device `gpu0`, which is /dev/zero under another name. `problem` is what preparing fails with.

    The device is for these `requests` of a claim, for all of them if there are none.
    """

    def __init__(
        self, cdi: Path, *, kind: str = "DRAPlugin", version: str = "v1", requests: Sequence[str] = ("r",)
    ) -> None:  # fmt: skip
        self._requests = requests
        self.prepared: list[str] = []
        self.unprepared: list[str] = []
        self.told: list[pb.RegistrationStatus] = []
        self.problem = ""
        self._cdi, self._kind, self._version = cdi, kind, version

    def __mapping__(self) -> dict[str, Handler]:
        dra = f"/k8s.io.kubelet.pkg.apis.dra.{self._version}.DRAPlugin"
        unary = Cardinality.UNARY_UNARY
        return {
            "/pluginregistration.Registration/GetInfo": Handler(self._info, unary, pb.InfoRequest, pb.PluginInfo),
            "/pluginregistration.Registration/NotifyRegistrationStatus": Handler(
                self._status, unary, pb.RegistrationStatus, pb.RegistrationStatusResponse
            ),
            f"{dra}/NodePrepareResources": Handler(
                self._prepare, unary, pb.NodePrepareResourcesRequest, pb.NodePrepareResourcesResponse
            ),
            f"{dra}/NodeUnprepareResources": Handler(
                self._unprepare, unary, pb.NodeUnprepareResourcesRequest, pb.NodeUnprepareResourcesResponse
            ),
        }

    async def _info(self, stream: Stream[Any, Any]) -> None:
        await stream.recv_message()
        info = pb.PluginInfo(type=self._kind, name=NAME, supported_versions=[f"{self._version}.DRAPlugin"])
        await stream.send_message(info)

    async def _status(self, stream: Stream[Any, Any]) -> None:
        self.told.append(await stream.recv_message())
        await stream.send_message(pb.RegistrationStatusResponse())

    async def _prepare(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        answer = pb.NodePrepareResourcesResponse()
        for claim in request.claims:
            found = answer.claims[claim.uid]
            if self.problem:
                found.error = self.problem
                continue
            self.prepared.append(claim.name)
            edits = {
                "env": [f"GPU={claim.name}"], "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/zero"}],
                "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/etc/gpu", "options": ["ro"]}],
            }  # fmt: skip
            devices = [{"name": "0", "containerEdits": edits}]
            spec = {"cdiVersion": "0.6.0", "kind": "example.com/gpu", "devices": devices}
            self._cdi.mkdir(exist_ok=True)
            (self._cdi / "gpu.json").write_text(json.dumps(spec))
            device = pb.Device(request_names=self._requests, pool_name="n1", device_name="gpu0")
            device.cdi_device_ids.append("example.com/gpu=0")
            found.devices.append(device)
        await stream.send_message(answer)

    async def _unprepare(self, stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        answer = pb.NodeUnprepareResourcesResponse()
        for claim in request.claims:
            self.unprepared.append(claim.name)
            answer.claims[claim.uid].SetInParent()
        await stream.send_message(answer)


@asynccontextmanager
async def listening(driver: Driver, directory: Path, name: str = "gpu-reg.sock") -> AsyncIterator[None]:
    """The driver registers with the kubelet whose directory of plugins it is."""
    directory.mkdir(parents=True, exist_ok=True)
    server, socket = Server([driver]), directory / name
    await server.start(path=str(socket))
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        socket.unlink(missing_ok=True)
