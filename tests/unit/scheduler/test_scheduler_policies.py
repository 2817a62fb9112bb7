"""What an operator's scheduler.yaml makes of where pods go and whose turn it is."""

from __future__ import annotations

from typing import Any

import pytest
from scheduled import Scheduled, scheduling
from scheduler_objects import Json

from tiphys.scheduler.config import API, KIND, load
from tiphys.scheduler.fairness import LABEL
from tiphys.scheduler.profile import Profile

NODES = ("a", "b", "c")
FILL_UP = [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]


def profiles(*given: Json) -> tuple[Profile, ...]:
    return load({"apiVersion": API, "kind": KIND, "profiles": list(given)})


def fit(name: str, **strategy: Any) -> Json:
    return {
        "schedulerName": name,
        "plugins": {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit", "weight": 1}]}},
        "pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": strategy}}],
    }


@pytest.mark.parametrize(
    ("strategy", "used"),
    [
        ({"type": "LeastAllocated"}, {"a", "b", "c"}),
        ({"type": "MostAllocated"}, {"b"}),
        ({"type": "RequestedToCapacityRatio", "requestedToCapacityRatio": {"shape": FILL_UP}}, {"b"}),
    ],
)
async def test_a_profile_packs_or_spreads(strategy: Json, used: set[str]) -> None:
    async with scheduling(*profiles(fit("default-scheduler"), fit("chosen", **strategy))) as scheduled:
        for name in NODES:
            await scheduled.node(name, cpu="8")
        # One node has something already, so that packing has a favourite.
        await scheduled.pod("first", cpu="1", nodeName="b")
        for number in range(5):
            await scheduled.pod(f"p{number}", cpu="1", schedulerName="chosen")
        assert {await scheduled.bound(f"p{number}") for number in range(5)} == used


async def test_two_profiles_of_one_cluster_differ() -> None:
    given = (fit("default-scheduler"), fit("packing", type="MostAllocated"))
    async with scheduling(*profiles(*given)) as scheduled:
        for name in NODES:
            await scheduled.node(name, cpu="8")
        for number in range(3):
            await scheduled.pod(f"spread{number}", cpu="1")
        assert {await scheduled.bound(f"spread{number}") for number in range(3)} == set(NODES)
        await scheduled.pod("first", cpu="1", schedulerName="packing")
        favourite = await scheduled.bound("first")
        for number in range(3):
            await scheduled.pod(f"pack{number}", cpu="1", schedulerName="packing")
            assert await scheduled.bound(f"pack{number}") == favourite


@pytest.mark.parametrize(("weights", "shares"), [({"x": 1, "y": 1}, (4, 4)), ({"x": 3, "y": 1}, (6, 2))])
async def test_queues_share_a_node_by_their_weights(weights: Json, shares: tuple[int, int]) -> None:
    arguments = {"name": "DominantResourceFairness", "args": {"weights": weights}}
    plugins = {"queueSort": {"enabled": [{"name": "DominantResourceFairness"}]}}
    async with scheduling(*profiles({"plugins": plugins, "pluginConfig": [arguments]})) as scheduled:
        for queue in ("x", "y"):
            for number in range(8):
                await scheduled.pod(f"{queue}{number}", cpu="1", labels={LABEL: queue})
        for queue in ("x", "y"):
            for number in range(8):
                await scheduled.refused(f"{queue}{number}", "no nodes available to schedule pods")
        await scheduled.clock.advance(60)
        await scheduled.node("a", cpu="8")
        assert (
            tuple([await _bound(scheduled, queue, count) for queue, count in zip("xy", shares, strict=True)]) == shares
        )


async def _bound(scheduled: Scheduled, queue: str, expected: int) -> int:
    """How many pods of a queue have a node, once that is what is expected."""

    async def check() -> int:
        pods = [await scheduled.get(f"{queue}{number}") for number in range(8)]
        found = sum(bool(pod.spec.node_name) for pod in pods)
        return found if found >= expected else 0

    count: int = await scheduled.until(check, f"{expected} pods of {queue} bound")
    return count
