"""Pods leave devices with NoExecute taints that their claims do not, or no longer, tolerate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tiphys.api.resource import Json
from tiphys.controllers.device_taint_eviction import DeviceTaintEvictionController
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.resource.resourceclaim import RESOURCE_CLAIMS
from tiphys.kinds.resource.resourceslice import RESOURCE_SLICES

if TYPE_CHECKING:
    from conftest import Cluster

DRIVER = "gpu.example.com"
BROKEN = {"key": "broken", "effect": "NoExecute"}
SPEC = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}


async def prepare(cluster: Cluster, *taints: Json, tolerations: list[Json] | None = None) -> None:
    """A slice with one device, whose claim is reserved for the running pod p."""
    cluster.start(DeviceTaintEvictionController)
    await cluster.add_node("n")
    spec = {"driver": DRIVER, "nodeName": "n", "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1}}
    devices = [{"name": "gpu0", "taints": list(taints)}]
    await cluster.create(RESOURCE_SLICES, {"metadata": {"name": "s"}, "spec": {**spec, "devices": devices}})
    await cluster.create(RESOURCE_CLAIMS, {"metadata": {"name": "c"}, "spec": SPEC})
    pod = await cluster.create(PODS, {"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "image": "i"}], "resourceClaims": [{"name": "c", "resourceClaimName": "c"}],
    }})  # fmt: skip
    await cluster.bind("p", "n")
    await cluster.make_ready("p")
    result = {"request": "r", "driver": DRIVER, "pool": "n", "device": "gpu0", "tolerations": tolerations or []}
    user = {"resource": "pods", "name": "p", "uid": pod["metadata"]["uid"]}
    status = {"allocation": {"devices": {"results": [result]}}, "reservedFor": [user]}
    await cluster.patch(RESOURCE_CLAIMS, "c", {"status": status}, subresource="status")


async def taint(cluster: Cluster, *taints: Json) -> None:
    await cluster.patch(RESOURCE_SLICES, "s", {"spec": {"devices": [{"name": "gpu0", "taints": list(taints)}]}})


async def evicted(cluster: Cluster) -> Json:
    """The condition of the pod once it is being deleted."""

    async def check() -> Any:
        found = await cluster.get(PODS, "p") or {}
        conditions = (found.get("status") or {}).get("conditions") or ()
        going = (found.get("metadata") or {}).get("deletionTimestamp")
        return next((each for each in conditions if going and each["type"] == "DisruptionTarget"), None)

    condition: Json = await cluster.until(check, "p is evicted")
    return condition


async def staying(cluster: Cluster) -> bool:
    found = await cluster.get(PODS, "p")
    return found is not None and "deletionTimestamp" not in found["metadata"]


async def test_a_pod_leaves_a_device_that_is_tainted(cluster: Cluster) -> None:
    await prepare(cluster, {"key": "old", "effect": "NoSchedule"})
    await taint(cluster, BROKEN)
    condition = await evicted(cluster)
    assert (condition["reason"], condition["message"]) == (
        "DeletionByDeviceTaintManager", "Device Taint manager: deleting due to NoExecute taint",
    )  # fmt: skip

    async def told() -> bool:
        return any(event.reason == "DeviceTaintManagerEviction" for event in await cluster.list(EVENTS))

    await cluster.until(told, "an event")


async def test_a_pod_leaves_a_device_that_was_tainted_before(cluster: Cluster) -> None:
    await prepare(cluster, BROKEN)
    await evicted(cluster)


async def test_a_pod_stays_as_long_as_its_claim_tolerates_the_taint(cluster: Cluster) -> None:
    patient = {"key": "broken", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    await prepare(cluster, tolerations=[patient])
    await taint(cluster, BROKEN)
    await cluster.clock.advance(50)
    assert await staying(cluster)
    await cluster.clock.advance(20)
    await evicted(cluster)


async def test_a_taint_that_goes_in_time_does_nothing(cluster: Cluster) -> None:
    patient = {"key": "broken", "operator": "Exists", "tolerationSeconds": 60}
    await prepare(cluster, BROKEN, tolerations=[patient])
    await cluster.clock.advance(30)
    await taint(cluster)
    await cluster.clock.advance(3600)
    assert await staying(cluster)


async def test_what_is_tolerated_for_ever_may_stay(cluster: Cluster) -> None:
    await prepare(cluster, BROKEN, tolerations=[{"key": "broken", "operator": "Exists"}])
    await cluster.clock.advance(3600)
    assert await staying(cluster)
