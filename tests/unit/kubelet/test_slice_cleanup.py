"""ResourceSlices of drivers that are gone from a node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simulation import Simulation, simulation

from tiphys.base.tasks import Supervisor
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES
from tiphys.kubelet.slice_cleanup import SliceCleanup


async def publish(made: Simulation, driver: str, node: str = "n1") -> None:
    spec = {"driver": driver, "nodeName": node, "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}}
    body = {"metadata": {"name": f"{driver}-{node}"}, "spec": {**spec, "devices": [{"name": "d0"}]}}
    await made.client.of(RESOURCE_SLICES).create(body)


async def names(made: Simulation) -> set[str]:
    return {each.metadata.name for each in (await made.client.of(RESOURCE_SLICES).list())[0]}


@asynccontextmanager
async def cleaning(made: Simulation, here: set[str]) -> AsyncIterator[SliceCleanup]:
    cleanup = SliceCleanup(made.client, "n1", here.__contains__, made.clock)
    async with Supervisor(made.clock) as supervisor:
        supervisor.start("cleanup", cleanup.run)
        await made.settle()
        yield cleanup


async def test_at_the_start_those_go_whose_drivers_do_not_come_back() -> None:
    async with simulation() as made:
        for driver, node in (("here.io", "n1"), ("gone.io", "n1"), ("gone.io", "n2")):
            await publish(made, driver, node)
        async with cleaning(made, {"here.io"}):
            await made.after(29)
            assert len(await names(made)) == 3
            await made.after(1)
            assert await names(made) == {"here.io-n1", "gone.io-n2"}


async def test_a_driver_that_goes_has_time_to_come_back() -> None:
    async with simulation() as made:
        await publish(made, "a.io")
        await publish(made, "b.io")
        here = {"a.io", "b.io"}
        async with cleaning(made, here) as cleanup:
            await made.after(60)
            here.clear()
            cleanup.gone()
            await made.after(10)
            here.add("a.io")
            await made.after(20)
            assert await names(made) == {"a.io-n1"}
