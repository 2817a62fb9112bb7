"""Extended resources that DeviceClasses stand for: pods that request them as ever get devices by claims."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from device_objects import GPU, class_json, device, slice_json
from scheduled import Scheduled
from scheduler_objects import Json, container, pod

from tiphys.api.errors import InternalError
from tiphys.api.http import Response
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.resource.deviceclass import DEVICE_CLASSES
from tiphys.kinds.resource.resourceclaim import RESOURCE_CLAIMS
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES
from tiphys.scheduler.devices.extended import extended_claim

NAME = "example.com/gpu"
IMPLICIT = f"deviceclass.resource.kubernetes.io/{GPU}"


async def prepare(scheduled: Scheduled, **devices: int) -> None:
    await scheduled.client.of(DEVICE_CLASSES).create_json(class_json(extendedResourceName=NAME))
    for name, count in devices.items():
        await scheduled.node(name)
        found = [device(f"gpu{number}") for number in range(count)]
        if found:
            await scheduled.client.of(RESOURCE_SLICES).create_json(slice_json(name, found))


def asking(count: int = 1, name: str = NAME) -> Json:
    made = container()
    made["resources"] = {"requests": {name: str(count)}, "limits": {name: str(count)}}
    return {"containers": [made]}


async def claims(scheduled: Scheduled) -> list[Json]:
    found, _ = await scheduled.client.of(RESOURCE_CLAIMS).list("default")
    client = scheduled.client.of(RESOURCE_CLAIMS)
    return [await client.get_json(each.metadata.name, "default") for each in found]


async def status(scheduled: Scheduled, name: str) -> Json:
    found: Json = (await scheduled.client.of(PODS).get_json(name, "default"))["status"]
    return found


@pytest.mark.parametrize("name", [NAME, IMPLICIT])
async def test_a_claim_is_made_for_what_the_pod_requests(scheduled: Scheduled, name: str) -> None:
    await prepare(scheduled, a=1, b=2)
    await scheduled.pod("p", **asking(2, name))
    assert await scheduled.bound("p") == "b"
    (claim,) = await claims(scheduled)
    assert claim["metadata"]["name"].startswith("p-extended-resources-")
    assert claim["metadata"]["annotations"] == {"resource.kubernetes.io/extended-resource-claim": "true"}
    (request,) = claim["spec"]["devices"]["requests"]
    assert request["name"] == "container-0-request-0"
    assert (request["exactly"]["deviceClassName"], request["exactly"]["count"]) == (GPU, 2)
    assert [each["device"] for each in claim["status"]["allocation"]["devices"]["results"]] == ["gpu0", "gpu1"]
    assert [each["name"] for each in claim["status"]["reservedFor"]] == ["p"]
    mapping = {"containerName": "c", "resourceName": name, "requestName": "container-0-request-0"}
    assert (await status(scheduled, "p"))["extendedResourceClaimStatus"] == {
        "resourceClaimName": claim["metadata"]["name"], "requestMappings": [mapping],
    }  # fmt: skip


async def test_where_the_node_has_the_resource_no_claim_is_made(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=0)
    await scheduled.node("plugin", allocatable={NAME: "1"})
    await scheduled.pod("p", **asking())
    assert await scheduled.bound("p") == "plugin"
    assert await claims(scheduled) == []
    await scheduled.pod("q", **asking())
    await scheduled.refused("q", f"0/2 nodes are available: 1 Insufficient {NAME}, 1 cannot allocate all claims.")


async def test_devices_of_claims_and_of_extended_resources_are_the_same(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=2)
    for name in ("p", "q", "r"):
        await scheduled.pod(name, **asking())
        await scheduled.clock.advance(5)

    async def settled() -> bool:
        return sum([bool((await scheduled.get(name)).spec.node_name) for name in ("p", "q", "r")]) == 2

    await scheduled.until(settled, "two are bound")
    given = [each["status"]["allocation"]["devices"]["results"][0]["device"] for each in await claims(scheduled)]
    assert sorted(given) == ["gpu0", "gpu1"]
    (left,) = [name for name in ("p", "q", "r") if not (await scheduled.get(name)).spec.node_name]
    await scheduled.refused(left, "0/1 nodes are available: 1 cannot allocate all claims.")


async def test_without_a_class_the_resource_is_what_it_was(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await scheduled.pod("p", **asking())
    await scheduled.refused("p", f"0/1 nodes are available: 1 Insufficient {NAME}.")
    await scheduled.client.of(RESOURCE_SLICES).create_json(slice_json("a", [device("gpu0")]))
    await scheduled.client.of(DEVICE_CLASSES).create_json(class_json(extendedResourceName=NAME))
    await scheduled.clock.advance(20)
    assert await scheduled.bound("p") == "a"


@pytest.mark.parametrize("where", ["/binding", "/resourceclaims"])
async def test_what_fails_is_tried_again_with_one_claim(scheduled: Scheduled, where: str) -> None:
    await prepare(scheduled, a=1)
    refusals = [Response(500, orjson.dumps(InternalError("no").status()))]
    scheduled.answer = lambda request: (
        refusals.pop() if request.method == "POST" and request.path.endswith(where) and refusals else None
    )
    await scheduled.pod("p", **asking())
    await scheduled.until(lambda: not refusals, "it failed once")
    await scheduled.clock.advance(20)
    assert await scheduled.bound("p") == "a"
    (claim,) = await claims(scheduled)
    told = (await status(scheduled, "p"))["extendedResourceClaimStatus"]
    assert told["resourceClaimName"] == claim["metadata"]["name"]


def requests(*init: tuple[int, str], main: tuple[int, ...] = ()) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """What is asked for, and which container has which; init containers are (count, restartPolicy)."""

    def one(name: str, count: int, **more: Any) -> Json:
        return {**container(name), "resources": {"requests": {NAME: str(count)}}, **more}

    first = [one(f"i{n}", count, restartPolicy=policy or None) for n, (count, policy) in enumerate(init)]
    made = pod("p", initContainers=first, containers=[one(f"c{n}", count) for n, count in enumerate(main)])
    found = extended_claim(made, (NAME,), {NAME: GPU})
    asked = {each["name"]: each["exactly"]["count"] for each in found.json["devices"]["requests"]}
    return asked, [(each["containerName"], each["requestName"]) for each in found.mappings]


def test_containers_that_run_together_share_nothing() -> None:
    asked, has = requests((1, "Always"), main=(2, 3))
    assert asked == {"container-0-request-0": 1, "container-1-request-0": 2, "container-2-request-0": 3}
    assert has == [
        ("i0", "container-0-request-0"), ("c0", "container-1-request-0"), ("c1", "container-2-request-0"),
    ]  # fmt: skip


def test_init_containers_use_what_comes_after_them() -> None:
    assert requests((2, ""), main=(2,)) == (
        {"container-1-request-0": 2}, [("c0", "container-1-request-0"), ("i0", "container-1-request-0")],
    )  # fmt: skip
    asked, has = requests((1, ""), (5, ""), (3, ""), main=(2,))
    assert asked == {"container-1-request-0": 3, "container-3-request-0": 2}
    assert ("i1", "container-1-request-0") in has
    # What the greediest of them needs besides does for the others too.
    assert ("i2", "container-1-request-0") in has
    assert ("i0", "container-1-request-0") not in has


