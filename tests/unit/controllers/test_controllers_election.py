"""Leader election: one leads, the next follows when it ends, gives up, or falls silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tiphys.api.errors import ServiceUnavailable
from tiphys.base.clock import settle
from tiphys.client.client import ResourceClient
from tiphys.client.leader_election import LeaderElection
from tiphys.kinds.coordination.lease import LEASES

NAME = "kube-scheduler"


class Candidate:
    def __init__(self, cluster: Any, identity: str, dead: asyncio.Event | None = None) -> None:
        self.leading = False
        self.leases: ResourceClient[Any] = cluster.client.of(LEASES)
        self.dead = dead
        self.election = LeaderElection(
            self.leases, NAME, identity, cluster.clock, ended=None if dead is None else self._ended
        )
        self.task = asyncio.create_task(self.election.run(self._lead))

    async def _ended(self, holder: str) -> None:
        assert self.dead is not None
        await self.dead.wait()

    async def _lead(self) -> None:
        self.leading = True
        try:
            await asyncio.Event().wait()
        finally:
            self.leading = False

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def candidates(cluster: Any) -> AsyncIterator[list[Candidate]]:
    made: list[Candidate] = []
    yield made
    for candidate in made:
        await candidate.stop()


async def _until_leading(cluster: Any, candidate: Candidate) -> None:
    async def leading() -> bool:
        return candidate.leading

    await cluster.until(leading, candidate.election.identity)


async def _holder(cluster: Any) -> str:
    lease = await cluster.get(LEASES, NAME, "kube-system")
    assert lease is not None
    holder: str = lease["spec"]["holderIdentity"]
    return holder


async def _pass(cluster: Any, seconds: float) -> None:
    """Let time go by in steps small enough for everything to keep up."""
    for _ in range(int(seconds / 0.25)):
        await cluster.clock.advance(0.25)
        await settle(200)


async def test_first_come_leads_and_goes_on_leading(cluster: Any, candidates: list[Candidate]) -> None:
    candidates.append(Candidate(cluster, "a"))
    await _until_leading(cluster, candidates[0])
    candidates.append(Candidate(cluster, "b"))
    await _pass(cluster, 20)
    assert candidates[0].leading
    assert not candidates[1].leading
    assert await _holder(cluster) == "a"


async def test_next_takes_over_when_leader_stops(cluster: Any, candidates: list[Candidate]) -> None:
    first = Candidate(cluster, "a")
    await _until_leading(cluster, first)
    candidates.append(Candidate(cluster, "b"))
    await settle(200)
    await first.stop()
    # It gave the lease back: nobody has to wait for time to pass.
    await _until_leading(cluster, candidates[0])
    assert not first.leading


async def test_next_takes_over_when_leader_falls_silent(cluster: Any, candidates: list[Candidate]) -> None:
    first = Candidate(cluster, "a")
    candidates.append(first)
    await _until_leading(cluster, first)
    candidates.append(Candidate(cluster, "b"))
    await settle(200)

    async def fails(*_: object, **__: object) -> None:
        raise ServiceUnavailable("no quorum")

    first.leases.update_json = fails  # type: ignore[method-assign, assignment]
    first.leases.get_json = fails  # type: ignore[method-assign, assignment]
    both = False
    for _ in range(40):
        await _pass(cluster, 0.25)
        both = both or (first.leading and candidates[1].leading)
    assert candidates[1].leading
    assert not first.leading
    assert not both
    lease = await cluster.get(LEASES, NAME, "kube-system")
    assert lease is not None
    assert lease["spec"]["leaseTransitions"] == 1


async def test_known_death_needs_no_waiting(cluster: Any, candidates: list[Candidate]) -> None:
    first, dead = Candidate(cluster, "a"), asyncio.Event()
    await _until_leading(cluster, first)
    candidates.append(Candidate(cluster, "b", dead))
    await settle(200)

    async def refuses(*_: object, **__: object) -> None:
        raise ServiceUnavailable("dead")

    first.leases.update_json = refuses  # type: ignore[method-assign, assignment]
    first.leases.get_json = refuses  # type: ignore[method-assign, assignment]
    await first.stop()
    await settle(200)
    assert not candidates[0].leading
    dead.set()
    await _until_leading(cluster, candidates[0])
