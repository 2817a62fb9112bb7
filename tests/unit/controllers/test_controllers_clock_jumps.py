"""Clocks that jump: leases are kept by the time that goes by, not by what the clock on the wall shows."""

from __future__ import annotations

from typing import Any

import pytest
from test_controllers_election import Candidate, _pass, _until_leading
from test_controllers_nodes import Kubelet

from tiphys.base.clock import settle
from tiphys.controllers.node_lifecycle import NodeLifecycleController

DAY = 86_400.0


def jump(cluster: Any, seconds: float) -> None:
    """From now on the wall clock is so far off; the monotonic one goes on."""
    clock = cluster.clock
    clock.time = lambda: clock.monotonic() + seconds


async def _keep() -> None:
    """Do not give the Lease back, as one that is killed does not."""


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_a_leader_leads_on(cluster: Any, seconds: float) -> None:
    first, second = Candidate(cluster, "a"), None
    try:
        await _until_leading(cluster, first)
        second = Candidate(cluster, "b")
        await settle(200)
        jump(cluster, seconds)
        for _ in range(20):
            await _pass(cluster, 1)
            assert first.leading
            assert not second.leading
    finally:
        await first.stop()
        if second is not None:
            await second.stop()


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_a_silent_leader_is_followed_as_soon_as_ever(cluster: Any, seconds: float) -> None:
    first = Candidate(cluster, "a")
    await _until_leading(cluster, first)
    second = Candidate(cluster, "b")
    try:
        await settle(200)
        first.election._release = _keep  # type: ignore[method-assign]
        await first.stop()
        jump(cluster, seconds)
        await _pass(cluster, 3)
        assert not second.leading
        await _pass(cluster, 3)
        await _until_leading(cluster, second)
    finally:
        await second.stop()


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_a_node_that_renews_stays_ready(cluster: Any, seconds: float) -> None:
    cluster.start(NodeLifecycleController)
    node = Kubelet(cluster, "node")
    await node.register()
    await node.renew()
    await node.shows("True")
    jump(cluster, seconds)
    for _ in range(8):
        await cluster.clock.advance(4)
        await node.renew()
        await settle(200)
    await node.shows("True")
