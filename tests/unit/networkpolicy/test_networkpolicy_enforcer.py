"""The enforcer beside a real API server, over a simulated kernel: what is in force, from when, and what fails."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

sys.path += [str(Path(__file__).parents[1] / name) for name in ("proxy", "scheduler")]
from nft_simulator import Table
from scheduled import Scheduled, scheduling
from scheduler_objects import node_json

from tiphys.api.meta import ObjectMeta
from tiphys.base.tasks import Supervisor
from tiphys.client.informer import Informers
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.networking.networkpolicy import NETWORK_POLICIES
from tiphys.networkpolicy import rules
from tiphys.networkpolicy.enforcer import Enforcer
from tiphys.node import nft

Json = dict[str, Any]
DENY: Json = {"metadata": {"name": "deny", "namespace": "default"}, "spec": {"podSelector": {}}}


class Kernel:
    """`table` is None where there is none; `refusals` is how many scripts are still refused."""

    def __init__(self) -> None:
        self.table: Table | None = Table(chains={}, elements={})
        self.refusals = 0

    async def apply(self, script: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise nft.NftError("no")
        anew = rules.table("policy")
        if script.startswith(anew):
            self.table = Table(chains={}, elements={"egress": {}, "ingress": {}, "selves": {}})
            script = script.removeprefix(anew)
        assert self.table is not None
        self.table.run(script)

    async def delete_table(self, family: str, name: str) -> None:
        assert (family, name) == ("ip", "policy")
        self.table = None

    def isolated(self) -> set[str]:
        return set(self.table.elements["ingress"]) if self.table is not None else set()

    def peers(self) -> set[str]:
        """The addresses in all of the sets of peers."""
        if self.table is None:
            return set()
        return {key for name, found in self.table.elements.items() if name.startswith("peers-") for key in found}


class World:
    def __init__(self, scheduled: Scheduled, kernel: Kernel, enforcer: Enforcer) -> None:
        self.scheduled, self.kernel, self.enforcer = scheduled, kernel, enforcer

    async def until(self, check: Callable[[], bool], what: str) -> None:
        await self.scheduled.until(check, what)

    async def policy(self, obj: Json) -> None:
        await self.scheduled.client.of(NETWORK_POLICIES).create_json(obj)

    async def pod(self, name: str, address: str = "", node: str = "one", **labels: str) -> Pod:
        pods = self.scheduled.client.of(PODS)
        spec = {"nodeName": node, "containers": [{"name": "app", "image": "app"}]}
        await pods.create_json({"metadata": {"name": name, "namespace": "default", "labels": labels}, "spec": spec})
        if address:
            await self.tell(name, address)
        return await pods.get(name, "default")

    async def tell(self, name: str, address: str, phase: str = "Running") -> None:
        status = {"phase": phase, "podIP": address, "podIPs": [{"ip": address}]}
        meta = ObjectMeta(name=name, namespace="default")
        await self.scheduled.client.of(PODS).patch(meta, {"status": status}, subresource="status")


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    kernel = Kernel()
    monkeypatch.setattr(nft, "apply", kernel.apply)
    monkeypatch.setattr(nft, "delete_table", kernel.delete_table)
    async with scheduling() as scheduled, Supervisor(scheduled.clock) as supervisor:
        for name in ("one", "two"):
            await scheduled.client.of(NODES).create_json(node_json(name))
        informers = Informers(scheduled.client, scheduled.clock)
        enforcer = Enforcer(informers, "one", "policy", scheduled.clock)
        for informer in informers:
            supervisor.start(informer.resource.plural, informer.run)
        supervisor.start("network policies", enforcer.run)
        yield World(scheduled, kernel, enforcer)


async def test_the_nodes_own_pods_are_isolated_while_a_policy_selects_them(world: World) -> None:
    await world.pod("here", "10.42.0.2")
    await world.pod("there", "10.42.1.2", "two")
    await world.until(lambda: world.kernel.table is None, "a predecessor's table is removed")
    await world.policy(DENY)
    await world.until(lambda: world.kernel.isolated() == {"10.42.0.2"}, "isolated")
    await world.tell("here", "10.42.0.2", "Succeeded")
    await world.until(lambda: world.kernel.isolated() == set(), "over")
    await world.scheduled.client.of(NETWORK_POLICIES).delete(ObjectMeta(name="deny", namespace="default"))
    await world.until(lambda: world.kernel.table is None, "open")


async def test_peers_come_and_go_with_their_labels(world: World) -> None:
    await world.pod("here", "10.42.0.2", role="server")
    await world.pod("there", "10.42.1.2", "two", role="client")
    rule = {"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]}
    await world.policy({**DENY, "spec": {"podSelector": {"matchLabels": {"role": "server"}}, "ingress": [rule]}})
    await world.until(lambda: world.kernel.peers() == {"10.42.1.2"}, "one peer")
    assert world.enforcer.admits("10.42.1.2", ("10.42.0.2", 80))
    assert not world.enforcer.admits("10.42.0.9", ("10.42.0.2", 80))
    meta = ObjectMeta(name="there", namespace="default")
    await world.scheduled.client.of(PODS).patch(meta, {"metadata": {"labels": {"role": "other"}}})
    await world.until(lambda: world.kernel.peers() == set(), "no peer")
    assert not world.enforcer.admits("10.42.1.2", ("10.42.0.2", 80))


async def test_a_pod_does_not_start_before_it_is_isolated(world: World) -> None:
    pod = await world.pod("new")
    await asyncio.wait_for(world.enforcer.isolate(pod, ["10.42.0.7"]), 5)
    assert world.kernel.isolated() == set()
    await world.policy(DENY)
    await world.until(lambda: world.kernel.table is not None, "a table")
    await asyncio.wait_for(world.enforcer.isolate(pod, ["10.42.0.7"]), 5)
    assert world.kernel.isolated() == {"10.42.0.7"}
    # Nothing changes when the API learns of the address, and the next start need not wait.
    await world.tell("new", "10.42.0.7")
    await asyncio.wait_for(world.enforcer.isolate(pod, ["10.42.0.7"]), 5)
    assert world.kernel.isolated() == {"10.42.0.7"}
    await world.scheduled.client.of(PODS).delete(ObjectMeta(name="new", namespace="default"), grace=0)
    await world.until(lambda: world.kernel.isolated() == set(), "gone")


async def test_a_pod_waits_while_the_kernel_refuses(world: World) -> None:
    pod = await world.pod("new")
    await world.policy(DENY)
    await world.until(lambda: world.kernel.table is not None, "a table")
    world.kernel.refusals = 2
    waiting = asyncio.ensure_future(world.enforcer.isolate(pod, ["10.42.0.7"]))
    await world.until(lambda: world.kernel.refusals == 1, "refused")
    assert not waiting.done()
    while not waiting.done():
        await world.scheduled.clock.advance(1)
    assert world.kernel.isolated() == {"10.42.0.7"}
