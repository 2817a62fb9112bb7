"""The kubelet's own API over a real container: logs, exec, port-forward, statistics."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from kubelet_fixture import Cluster, cluster, one, running

from tiphys.base.clock import SystemClock
from tiphys.kubelet.server.app import KubeletServer

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
_V4 = "v4.channel.k8s.io"


@asynccontextmanager
async def served(kube: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = KubeletServer(kube.kubelet, kube.client, SystemClock())
    await server.start("127.0.0.1", port, None)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield session
    finally:
        await server.stop()


async def test_logs_are_read_and_followed_to_the_end(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube, served(kube) as kubelet:
        script = "echo one; echo two; while [ ! -e /go ]; do usleep 10000; done; echo three"
        await kube.create("talker", one(script))
        await kube.until("talker", running)
        url = "/containerLogs/default/talker/main"
        async with kubelet.get(url, params={"follow": "true"}) as follower:
            lines = [await follower.content.readline() for _ in range(2)]
            assert lines == [b"one\n", b"two\n"]
            async with kubelet.get(url, params={"tailLines": "1"}) as answer:
                assert await answer.read() == b"two\n"
            async with kubelet.get(url, params={"timestamps": "true", "limitBytes": "10"}) as answer:
                assert len(await answer.read()) == 10
            async with kubelet.post("/run/default/talker/main", params={"cmd": "touch /go"}) as answer:
                assert answer.status == 200
            async with asyncio.timeout(20):
                assert await follower.content.read() == b"three\n"
        async with kubelet.get("/containerLogs/default/talker/nobody") as answer:
            assert answer.status == 404


async def test_exec_streams_over_a_websocket(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube, served(kube) as kubelet:
        await kube.create("shell", one("exec sleep 1000"))
        await kube.until("shell", running)
        url = "/exec/default/shell/main?command=cat&input=1&output=1&error=1"
        async with kubelet.ws_connect(url, protocols=[_V4], compress=0) as stream:
            assert stream.protocol == _V4
            await stream.send_bytes(b"\x00hello")
            async with asyncio.timeout(20):
                while (await stream.receive_bytes()) != b"\x01hello":
                    pass
        with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
            await kubelet.ws_connect(url, protocols=["v6.channel.k8s.io"])


async def test_input_ends_where_a_client_of_v5_says_so(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube, served(kube) as kubelet:
        await kube.create("shell", one("exec sleep 1000"))
        await kube.until("shell", running)
        url = "/exec/default/shell/main?command=cat&input=1&output=1&error=1"
        async with kubelet.ws_connect(url, protocols=["v5.channel.k8s.io", _V4], compress=0) as stream:
            assert stream.protocol == "v5.channel.k8s.io"
            await stream.send_bytes(b"\x00hello")
            await stream.send_bytes(b"\xff\x00")
            async with asyncio.timeout(20):
                said = [message.data async for message in stream]
        assert b"".join(part[1:] for part in said if part[0] == 1) == b"hello"
        assert [orjson.loads(part[1:])["status"] for part in said if part[0] == 3] == ["Success"]


async def test_exec_in_base64_messages(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube, served(kube) as kubelet:
        await kube.create("shell", one("exec sleep 1000"))
        await kube.until("shell", running)
        url = "/exec/default/shell/main?command=sh&command=-c&command=read+x;echo+$x;exit+3&input=1&output=1"
        async with kubelet.ws_connect(url, protocols=["v4.base64.channel.k8s.io"], compress=0) as stream:
            await stream.send_str("0" + base64.b64encode(b"hello\n").decode())
            async with asyncio.timeout(20):
                said = [message.data async for message in stream]
        decoded = [(part[0], base64.b64decode(part[1:])) for part in said]
        assert b"".join(content for channel, content in decoded if channel == "1") == b"hello\n"
        [outcome] = [orjson.loads(content) for channel, content in decoded if channel == "3"]
        assert outcome["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_usage_is_told_for_node_and_pods(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube, served(kube) as kubelet:
        await kube.create("busy", one("exec sleep 1000"))
        await kube.until("busy", running)
        async with kubelet.get("/stats/summary") as answer:
            summary = await answer.json()
        assert summary["node"]["memory"]["workingSetBytes"] > 0
        [pod] = summary["pods"]
        assert pod["podRef"]["name"] == "busy"
        assert pod["memory"]["workingSetBytes"] > 0
        [container] = pod["containers"]
        assert 0 < container["memory"]["workingSetBytes"] <= pod["memory"]["workingSetBytes"]
        assert "rootfs" in container
        async with kubelet.get("/stats/summary?only_cpu_and_memory=true") as answer:
            [short] = (await answer.json())["pods"]
        assert "rootfs" not in short["containers"][0]
        assert short["containers"][0]["cpu"]["usageCoreNanoSeconds"] >= container["cpu"]["usageCoreNanoSeconds"] > 0
        async with kubelet.get("/metrics/resource") as answer:
            text = await answer.text()
        assert 'container_memory_working_set_bytes{container="main",namespace="default",pod="busy"}' in text
        async with kubelet.get("/metrics/cadvisor") as answer:
            text = await answer.text()
        assert 'container_cpu_usage_seconds_total{container="main",' in text
        async with kubelet.get("/healthz") as answer:
            assert await answer.text() == "ok"
