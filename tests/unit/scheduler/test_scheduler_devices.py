"""Pods with claims: they go where the devices are, get them for themselves, and wait where there are none."""

from __future__ import annotations

from typing import Any

import orjson
from device_objects import DRIVER, GPU, choice, claim_json, class_json, device, exactly, slice_json
from scheduled import Scheduled
from scheduler_objects import Json

from tiphys.api.errors import InternalError
from tiphys.api.http import Request, Response
from tiphys.api.meta import ObjectMeta
from tiphys.kinds.resource.deviceclass import DEVICE_CLASSES
from tiphys.kinds.resource.resourceclaim import FINALIZER, RESOURCE_CLAIMS
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES
from tiphys.kinds.scheduling.podgroup import POD_GROUPS

NONE = "cannot allocate all claims"


async def publish(scheduled: Scheduled, name: str, *devices: Json, **more: Any) -> None:
    found = devices or (device("gpu0"),)
    await scheduled.client.of(RESOURCE_SLICES).create_json(slice_json(name, found, **more))


async def prepare(scheduled: Scheduled, **devices: int) -> None:
    """Nodes with so many devices, and a class of them all."""
    await scheduled.client.of(DEVICE_CLASSES).create_json(class_json())
    for name, count in devices.items():
        await scheduled.node(name)
        if count:
            await publish(scheduled, name, *(device(f"gpu{number}") for number in range(count)))


async def claim(scheduled: Scheduled, name: str, *requests: Json, **more: Any) -> Json:
    made: Json = await scheduled.client.of(RESOURCE_CLAIMS).create_json(claim_json(name, *requests, **more))
    return made


async def status(scheduled: Scheduled, name: str) -> Json:
    found = await scheduled.client.of(RESOURCE_CLAIMS).get_json(name, "default")
    return found.get("status") or {}


async def devices(scheduled: Scheduled, name: str) -> list[str]:
    results = (await status(scheduled, name))["allocation"]["devices"]["results"]
    return [f"{result['pool']}/{result['device']}" for result in results]


def using(*claims: str) -> Json:
    return {"resourceClaims": [{"name": f"c{n}", "resourceClaimName": name} for n, name in enumerate(claims)]}


async def test_a_claim_is_allocated_and_reserved_before_its_pod_is_bound(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=0, b=1)
    await claim(scheduled, "one")
    await scheduled.pod("p", **using("one"))
    assert await scheduled.bound("p") == "b"
    pod = await scheduled.get("p")
    found = await scheduled.client.of(RESOURCE_CLAIMS).get_json("one", "default")
    only = {"key": "metadata.name", "operator": "In", "values": ["b"]}
    assert found["metadata"]["finalizers"] == [FINALIZER]
    assert found["status"] == {
        "allocation": {
            "devices": {"results": [{"request": "r", "driver": DRIVER, "pool": "b", "device": "gpu0"}]},
            "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [only]}]},
        },
        "reservedFor": [{"resource": "pods", "name": "p", "uid": pod.metadata.uid}],
    }  # fmt: skip


async def test_no_two_claims_get_one_device(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=2, b=2)
    for number in range(5):
        await claim(scheduled, f"c{number}")
        await scheduled.pod(f"p{number}", **using(f"c{number}"))
    names = [f"p{number}" for number in range(5)]
    refused = f"0/2 nodes are available: 2 {NONE}."

    async def settled() -> bool:
        return sum([bool((await scheduled.get(name)).spec.node_name) for name in names]) == 4

    await scheduled.until(settled, "four are bound")
    (left,) = [name for name in names if not (await scheduled.get(name)).spec.node_name]
    await scheduled.refused(left, refused)
    got = [device for n in range(5) if f"p{n}" != left for device in await devices(scheduled, f"c{n}")]
    assert sorted(got) == ["a/gpu0", "a/gpu1", "b/gpu0", "b/gpu1"]


async def test_a_pod_waits_for_its_claim_its_class_and_devices(scheduled: Scheduled) -> None:
    await scheduled.node("a")
    await scheduled.pod("p", **using("late"))
    await scheduled.refused("p", '0/1 nodes are available: could not find ResourceClaim "default/late".')
    await claim(scheduled, "late")
    await scheduled.clock.advance(20)
    await scheduled.refused("p", "0/1 nodes are available: request r: device class gpu does not exist.")
    await scheduled.client.of(DEVICE_CLASSES).create_json(class_json())
    await scheduled.clock.advance(20)
    await scheduled.refused("p", f"0/1 nodes are available: 1 {NONE}.")
    await publish(scheduled, "a")
    await scheduled.clock.advance(20)
    assert await scheduled.bound("p") == "a"


async def test_a_pod_that_waits_for_a_template_is_not_told_of_it(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1)
    await scheduled.pod("p", resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "t"}])
    await scheduled.pod("other")
    await scheduled.bound("other")
    pod = await scheduled.get("p")
    assert pod.status.condition("PodScheduled") is None
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": pod.metadata.uid, "controller": True}
    made = claim_json("p-gpu-x")
    made["metadata"]["ownerReferences"] = [owner]
    await scheduled.client.of(RESOURCE_CLAIMS).create_json(made)
    statuses = {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "p-gpu-x"}]}
    await scheduled.patch("p", {"status": statuses}, subresource="status")
    assert await scheduled.bound("p") == "a"


async def test_another_ones_claim_is_not_taken_for_the_template_s(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1)
    await claim(scheduled, "foreign")
    await scheduled.pod("p", resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "t"}])
    statuses = {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "foreign"}]}
    await scheduled.patch("p", {"status": statuses}, subresource="status")
    words = "ResourceClaim default/foreign was not created for pod default/p (pod is not owner)"
    await scheduled.refused("p", f"0/1 nodes are available: {words}.")


async def test_pods_that_share_a_claim_go_where_its_devices_are(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1, b=1, c=0)
    await claim(scheduled, "shared")
    for number in range(3):
        await scheduled.pod(f"p{number}", **using("shared"))
    nodes = {await scheduled.bound(f"p{number}") for number in range(3)}
    assert len(nodes) == 1
    assert len((await status(scheduled, "shared"))["reservedFor"]) == 3


async def test_a_claim_that_enough_pods_share_is_in_use(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1)
    await claim(scheduled, "full")
    results = [{"request": "r", "driver": DRIVER, "pool": "a", "device": "gpu0"}]
    users = [{"resource": "pods", "name": f"u{n}", "uid": f"u{n}"} for n in range(256)]
    full = {"status": {"allocation": {"devices": {"results": results}}, "reservedFor": users}}
    meta = ObjectMeta(name="full", namespace="default")
    await scheduled.client.of(RESOURCE_CLAIMS).patch(meta, full, subresource="status")
    await scheduled.pod("p", **using("full"))
    await scheduled.refused("p", "0/1 nodes are available: resourceclaim in use.")


async def test_a_claim_being_deleted_is_not_used(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1)
    made = claim_json("going")
    made["metadata"]["finalizers"] = ["example.com/keep"]
    await scheduled.client.of(RESOURCE_CLAIMS).create_json(made)
    await scheduled.client.of(RESOURCE_CLAIMS).delete(ObjectMeta(name="going", namespace="default"))
    await scheduled.pod("p", **using("going"))
    await scheduled.refused("p", '0/1 nodes are available: resourceclaim "going" is being deleted.')


async def test_freed_devices_go_to_who_waits(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1)
    await claim(scheduled, "first")
    await scheduled.pod("p", **using("first"))
    await scheduled.bound("p")
    await claim(scheduled, "second")
    await scheduled.pod("q", **using("second"))
    await scheduled.refused("q", f"0/1 nodes are available: 1 {NONE}.")
    meta = ObjectMeta(name="first", namespace="default")
    freed = {"status": {"allocation": None, "reservedFor": None}}
    await scheduled.client.of(RESOURCE_CLAIMS).patch(meta, freed, subresource="status")
    await scheduled.clock.advance(20)
    assert await scheduled.bound("q") == "a"


async def test_devices_are_given_back_if_the_claim_cannot_be_written(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1)
    refusals = 3

    def answer(request: Request) -> Response | None:
        nonlocal refusals
        if request.method == "PATCH" and request.path.endswith("/resourceclaims/one") and refusals:
            refusals -= 1
            return Response(500, orjson.dumps(InternalError("no").status()))
        return None

    scheduled.answer = answer
    await claim(scheduled, "one")
    await scheduled.pod("p", **using("one"))
    await scheduled.until(lambda: refusals < 3, "a write was tried")
    for _ in range(4):
        await scheduled.clock.advance(20)
    assert await scheduled.bound("p") == "a"


async def test_a_binding_that_fails_keeps_the_allocation_for_the_pod(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1, b=1)
    refusals = [Response(500, orjson.dumps(InternalError("no").status()))]
    scheduled.answer = lambda request: refusals.pop() if request.path.endswith("/binding") and refusals else None
    await claim(scheduled, "one")
    await scheduled.pod("p", **using("one"))
    await scheduled.until(lambda: not refusals, "the binding was tried")
    where = (await devices(scheduled, "one"))[0].partition("/")[0]
    await scheduled.clock.advance(20)
    assert await scheduled.bound("p") == where


async def test_an_allocation_out_of_reach_is_made_anew(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1, b=0)
    await claim(scheduled, "one")
    results = [{"request": "r", "driver": DRIVER, "pool": "b", "device": "gone"}]
    only = {"key": "metadata.name", "operator": "In", "values": ["gone"]}
    stuck = {"devices": {"results": results}, "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [only]}]}}
    meta = ObjectMeta(name="one", namespace="default")
    await scheduled.client.of(RESOURCE_CLAIMS).patch(meta, {"status": {"allocation": stuck}}, subresource="status")
    await scheduled.pod("p", **using("one"))
    await scheduled.event("p", "FailedScheduling")
    await scheduled.clock.advance(20)
    assert await scheduled.bound("p") == "a"
    assert await devices(scheduled, "one") == ["a/gpu0"]


async def test_devices_of_several_nodes_are_reached_from_those(scheduled: Scheduled) -> None:
    await scheduled.client.of(DEVICE_CLASSES).create_json(class_json(GPU, config=[
        {"opaque": {"driver": DRIVER, "parameters": {"mode": "fast"}}},
    ]))  # fmt: skip
    await scheduled.node("a", labels={"rack": "1"})
    await scheduled.node("b", labels={"rack": "2"})
    rule = {"key": "rack", "operator": "In", "values": ["2"]}
    selector = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    await publish(scheduled, "fabric", device("port"), nodeSelector=selector)
    own = {"config": [{"requests": ["r"], "opaque": {"driver": DRIVER, "parameters": {"mode": "slow"}}}]}
    await claim(scheduled, "one", **own)
    await scheduled.pod("p", **using("one"))
    assert await scheduled.bound("p") == "b"
    allocation = (await status(scheduled, "one"))["allocation"]
    assert allocation["nodeSelector"] == selector
    assert allocation["devices"]["config"] == [
        {"source": "FromClass", "requests": ["r"], "opaque": {"driver": DRIVER, "parameters": {"mode": "fast"}}},
        {"source": "FromClaim", "requests": ["r"], "opaque": {"driver": DRIVER, "parameters": {"mode": "slow"}}},
    ]


async def test_each_device_may_say_which_nodes_reach_it(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=0, b=0)
    devices_ = (device("everywhere", allNodes=True), device("here", nodeName="b"))
    await publish(scheduled, "mixed", *devices_, perDeviceNodeSelection=True)
    await claim(scheduled, "two", exactly(count=2))
    await scheduled.pod("p", **using("two"))
    assert await scheduled.bound("p") == "b"


async def test_alternatives_are_named_in_the_result(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1)
    first = [{"name": "many", **choice(count=2)}, {"name": "one", **choice()}]
    await claim(scheduled, "any", {"name": "r", "firstAvailable": first})
    await scheduled.pod("p", **using("any"))
    await scheduled.bound("p")
    results = (await status(scheduled, "any"))["allocation"]["devices"]["results"]
    assert [result["request"] for result in results] == ["r/one"]


async def test_a_node_that_gives_the_first_alternative_is_better(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1, b=2, c=1)
    first = [{"name": "many", **choice(count=2)}, {"name": "one", **choice()}]
    await claim(scheduled, "any", {"name": "r", "firstAvailable": first})
    await scheduled.pod("p", **using("any"))
    assert await scheduled.bound("p") == "b"


async def test_a_shared_device_counts_what_each_takes(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=0)
    nic = device("nic", capacity={"bandwidth": "10"}, allowMultipleAllocations=True)
    await publish(scheduled, "a", nic)
    for name in ("one", "two", "three"):
        await claim(scheduled, name, exactly(capacity={"requests": {"bandwidth": "4"}}))
        await scheduled.pod(name, **using(name))
    await scheduled.refused("three", f"0/1 nodes are available: 1 {NONE}.")
    (result,) = (await status(scheduled, "one"))["allocation"]["devices"]["results"]
    assert result["consumedCapacity"] == {"bandwidth": "4"}


async def test_an_expression_that_fails_is_told(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=1)
    await claim(scheduled, "one", exactly("r", f"device.attributes['{DRIVER}'].none == 1"))
    await scheduled.pod("p", **using("one"))
    what = f"request r: selector #0 on device {DRIVER}/a/gpu0: CEL runtime error: no such key: none"
    await scheduled.refused("p", f"0/1 nodes are available: 1 {what}.")


async def test_a_gang_gets_its_devices_all_at_once_or_not_at_all(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=2)
    await claim(scheduled, "shared")
    for name in ("one", "two"):
        await claim(scheduled, name)
    spec = {"schedulingPolicy": {"gang": {"minCount": 3}}}
    await scheduled.client.of(POD_GROUPS).create_json({"metadata": {"name": "g", "namespace": "default"}, "spec": spec})
    group = {"schedulingGroup": {"podGroupName": "g"}}
    for name in ("one", "two"):
        await scheduled.pod(name, **group, **using(name, "shared"))
    await scheduled.pod("three", **group, **using("shared"))
    waiting = "0/1 nodes are available: 1 cannot allocate all claims."

    async def told() -> bool:
        found = (await scheduled.get("three")).status.condition("PodScheduled")
        return found is not None and waiting in found.message

    await scheduled.until(told, "the gang does not fit")
    assert [await status(scheduled, name) for name in ("one", "two", "shared")] == [{}, {}, {}]
    await publish(scheduled, "more", nodeName="a")
    await scheduled.clock.advance(20)
    assert {await scheduled.bound(name) for name in ("one", "two", "three")} == {"a"}
    assert len((await status(scheduled, "shared"))["reservedFor"]) == 3


BINDING = {"bindingConditions": ["attached"], "bindingFailureConditions": ["attach-failed"]}


async def say(scheduled: Scheduled, name: str, type_: str) -> None:
    """As the driver of the claim's device does."""
    (result,) = (await status(scheduled, name))["allocation"]["devices"]["results"]
    condition = {
        "type": type_, "status": "True", "reason": "Said", "message": "so it is",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    which = {key: result[key] for key in ("driver", "pool", "device")}
    meta = ObjectMeta(name=name, namespace="default")
    patch = {"status": {"devices": [{**which, "conditions": [condition]}]}}
    await scheduled.client.of(RESOURCE_CLAIMS).patch(meta, patch, subresource="status")


async def allocated(scheduled: Scheduled, name: str) -> str:
    async def check() -> str:
        return (await devices(scheduled, name))[0] if (await status(scheduled, name)).get("allocation") else ""

    found: str = await scheduled.until(check, f"{name} is allocated")
    return found


async def test_a_pod_is_bound_once_its_device_is_ready(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=0)
    await publish(scheduled, "a", device("far", **BINDING))
    await claim(scheduled, "one")
    await scheduled.pod("p", **using("one"))
    assert await allocated(scheduled, "one") == "a/far"
    await scheduled.pod("other")
    await scheduled.bound("other")
    assert not (await scheduled.get("p")).spec.node_name
    (result,) = (await status(scheduled, "one"))["allocation"]["devices"]["results"]
    assert {key: result[key] for key in BINDING} == BINDING
    await say(scheduled, "one", "attached")
    assert await scheduled.bound("p") == "a"


async def test_a_device_that_fails_is_given_back(scheduled: Scheduled) -> None:
    await prepare(scheduled, a=0)
    await publish(scheduled, "a", device("far", **BINDING))
    await claim(scheduled, "one")
    await scheduled.pod("p", **using("one"))
    await allocated(scheduled, "one")
    await say(scheduled, "one", "attach-failed")

    async def free() -> bool:
        return not (await status(scheduled, "one")).get("allocation")

    await scheduled.until(free, "it is given back")
    await publish(scheduled, "near", device("here"), nodeName="a")
    await scheduled.clock.advance(20)
    # What is ready as it is comes first.
    assert await scheduled.bound("p") == "a"
    assert await devices(scheduled, "one") == ["near/here"]
