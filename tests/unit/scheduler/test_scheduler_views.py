"""What plugins may do besides looking at nodes: look at other kinds, hold things for a pod, write before it binds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from scheduled import Scheduled, scheduling

from tiphys.api.errors import InternalError
from tiphys.api.http import Response
from tiphys.api.meta import ObjectMeta
from tiphys.api.resource import ResourceType
from tiphys.client.client import Client
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.gang import LABEL, MIN_AVAILABLE
from tiphys.scheduler.pipeline import DEFAULT
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.profile import Profile
from tiphys.scheduler.view import View

ADDED = "licence added"


class Licences(View):
    """A ConfigMap in kube-public is a licence; one pod at a time holds one."""

    resources = (CONFIG_MAPS,)

    def __init__(self) -> None:
        self.free: set[str] = set()
        self.held: dict[str, str] = {}

    def changed(self, resource: ResourceType[Any], old: Any | None, new: Any | None) -> str | None:
        if new is None or new.metadata.namespace != "kube-public" or new.metadata.name in self.held.values():
            return None
        self.free.add(new.metadata.name)
        return ADDED


class Licensed(Plugin):
    name = "Licensed"
    retry_on = frozenset({ADDED})
    views = (Licences,)

    def refuse(self, info: PodInfo, cluster: Cluster) -> str | None:
        return None if cluster.view(Licences).free else "no licence is free"

    def reserve(self, info: PodInfo, node: str, cluster: Cluster) -> None:
        licences = cluster.view(Licences)
        licences.held[info.key] = licences.free.pop()

    def unreserve(self, info: PodInfo, node: str, cluster: Cluster) -> None:
        licences = cluster.view(Licences)
        licences.free.add(licences.held.pop(info.key))

    async def pre_bind(self, info: PodInfo, node: str, cluster: Cluster, client: Client) -> None:
        meta = ObjectMeta(name=cluster.view(Licences).held[info.key], namespace="kube-public")
        await client.of(CONFIG_MAPS).patch(meta, {"data": {"holder": f"{info.key} on {node}"}})


@pytest.fixture
async def licensed() -> AsyncIterator[Scheduled]:
    async with scheduling(Profile(plugins=(*DEFAULT, Licensed()))) as made:
        yield made


async def _grant(scheduled: Scheduled, name: str) -> None:
    meta = {"name": name, "namespace": "kube-public"}
    await scheduled.client.of(CONFIG_MAPS).create_json({"metadata": meta})


async def test_a_pod_waits_for_what_the_view_shows_and_holds_it(licensed: Scheduled) -> None:
    await licensed.node("a")
    await licensed.pod("p")
    await licensed.refused("p", "0/1 nodes are available: no licence is free.")
    await licensed.clock.advance(60)
    await _grant(licensed, "one")
    assert await licensed.bound("p") == "a"
    kept = await licensed.client.of(CONFIG_MAPS).get("one", "kube-public")
    assert kept.data == {"holder": "default/p on a"}
    await licensed.pod("q")
    await licensed.refused("q", "0/1 nodes are available: no licence is free.")


async def test_what_was_held_is_given_back_if_the_pod_is_not_bound(licensed: Scheduled) -> None:
    await licensed.node("a")
    await _grant(licensed, "one")
    refusals = [Response(500, orjson.dumps(InternalError("no").status()))]
    licensed.answer = lambda request: refusals.pop() if request.path.endswith("/binding") and refusals else None
    await licensed.pod("p")
    await licensed.until(lambda: not refusals, "the binding was tried")
    await licensed.clock.advance(60)
    assert await licensed.bound("p") == "a"


async def test_what_was_held_for_a_gang_is_given_back_if_one_gets_nothing(licensed: Scheduled) -> None:
    await licensed.node("a")
    await _grant(licensed, "one")
    labels = {LABEL: "pair", MIN_AVAILABLE: "2"}
    for name in ("p0", "p1"):
        await licensed.pod(name, labels=labels)
    refusal = "0/1 nodes are available: no licence is free."
    await licensed.refused("p0", f"1 of 2 pods of the group found a place, default/p1 did not: {refusal}")
    await licensed.pod("alone")
    assert await licensed.bound("alone") == "a"
    await licensed.clock.advance(60)
    for name in ("two", "three"):
        await _grant(licensed, name)
    assert [await licensed.bound("p0"), await licensed.bound("p1")] == ["a", "a"]
