"""Service account tokens while servers come and go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tiphys.api.meta import ObjectMeta
from tiphys.api.time import rfc3339
from tiphys.base.clock import VirtualClock
from tiphys.client.checkpoint import Checkpoint
from tiphys.client.client import Client
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.podspec import PodSpec
from tiphys.kinds.core.volume import (
    ProjectedVolume,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from tiphys.kubelet.volumes.tokens import ServiceAccountTokens

TOKEN = ServiceAccountTokenProjection(path="token", expiration_seconds=3600)
POD = Pod(
    metadata=ObjectMeta(name="p", namespace="default", uid="u1"),
    spec=PodSpec(volumes=[
        Volume(name="t", projected=ProjectedVolume(sources=[VolumeProjection(service_account_token=TOKEN)]))
    ]),
)  # fmt: skip


class Server:
    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.away, self.asked = clock, False, 0

    async def send(self, method: str, path: str, **_: Any) -> bytes:
        if self.away:
            raise Unreachable("no server answered")
        self.asked += 1
        ends = rfc3339(self.clock.time() + 3600)
        return orjson.dumps({"status": {"token": f"t{self.asked}", "expirationTimestamp": ends}})

    async def close(self) -> None: ...


@pytest.fixture
def server() -> Server:
    return Server(VirtualClock())


def tokens(server: Server, checkpoint: Checkpoint | None = None) -> ServiceAccountTokens:
    return ServiceAccountTokens(Client(server, manager="test"), server.clock, checkpoint)  # type: ignore[arg-type]


async def test_a_token_that_is_due_is_used_on_while_no_server_answers(server: Server) -> None:
    held = tokens(server)
    await held.fetch(POD)
    server.away = True
    await server.clock.advance(3000)
    due = await held.fetch(POD)
    assert due is not None
    assert server.clock.time() < due <= server.clock.time() + 60
    assert held.get(POD, TOKEN) == "t1"
    server.away = False
    await held.fetch(POD)
    assert held.get(POD, TOKEN) == "t2"


async def test_a_token_that_ended_is_not_used(server: Server) -> None:
    held = tokens(server)
    await held.fetch(POD)
    server.away = True
    await server.clock.advance(3700)
    with pytest.raises(Unreachable):
        await held.fetch(POD)


async def test_the_next_agent_has_the_tokens_of_the_last(server: Server, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, server.clock)
    held = tokens(server, checkpoint)
    await held.fetch(POD)
    checkpoint._write(checkpoint._taken())
    server.away = True
    after = tokens(server, checkpoint)
    await after.restore()
    await after.fetch(POD)
    assert after.get(POD, TOKEN) == "t1"
    await server.clock.advance(3700)
    late = tokens(server, checkpoint)
    await late.restore()
    with pytest.raises(Unreachable):
        await late.fetch(POD)
