"""Claims are made of templates for pods, and freed when nobody uses them any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tiphys.api.meta import ObjectMeta
from tiphys.api.resource import Json
from tiphys.controllers.resourceclaim import ResourceClaimController
from tiphys.controllers.resourceclaim_plan import POD_CLAIM_NAME, claim_from
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.resource.resourceclaim import FINALIZER, RESOURCE_CLAIMS, ResourceClaim
from tiphys.kinds.resource.resourceclaimtemplate import RESOURCE_CLAIM_TEMPLATES, ResourceClaimTemplate

if TYPE_CHECKING:
    from conftest import Cluster

SPEC = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}
RESULT = {"request": "r", "driver": "gpu.example.com", "pool": "n", "device": "gpu0"}


async def template(cluster: Cluster, name: str = "t") -> None:
    meta = {"labels": {"app": "x"}, "annotations": {"note": "y"}}
    spec = {"metadata": meta, "spec": SPEC}
    await cluster.create(RESOURCE_CLAIM_TEMPLATES, {"metadata": {"name": name}, "spec": spec})


async def pod(cluster: Cluster, name: str = "p", **use: str) -> Json:
    claim = {"name": "gpu", **(use or {"resourceClaimTemplateName": "t"})}
    spec = {"containers": [{"name": "c", "image": "i"}], "resourceClaims": [claim]}
    return await cluster.create(PODS, {"metadata": {"name": name}, "spec": spec})


async def claims(cluster: Cluster) -> list[ResourceClaim]:
    return await cluster.list(RESOURCE_CLAIMS)


async def the_claim(cluster: Cluster) -> ResourceClaim:
    """The only one, once the pod's status names it."""

    async def check() -> ResourceClaim | None:
        status = (await cluster.get(PODS, "p") or {}).get("status") or {}
        named = [each["resourceClaimName"] for each in status.get("resourceClaimStatuses") or ()]
        there = await claims(cluster)
        return there[0] if [each.metadata.name for each in there] == named and named else None

    found: ResourceClaim = await cluster.until(check, "the claim is there and named")
    return found


async def allocate(cluster: Cluster, name: str, *pods: Json) -> None:
    """As the scheduler does."""
    users = [{"resource": "pods", "name": p["metadata"]["name"], "uid": p["metadata"]["uid"]} for p in pods]
    await cluster.patch(RESOURCE_CLAIMS, name, {"metadata": {"finalizers": [FINALIZER]}})
    status = {"allocation": {"devices": {"results": [RESULT]}}, "reservedFor": users}
    await cluster.patch(RESOURCE_CLAIMS, name, {"status": status}, subresource="status")


async def named(cluster: Cluster, name: str = "mine") -> None:
    await cluster.create(RESOURCE_CLAIMS, {"metadata": {"name": name}, "spec": SPEC})


async def settled(cluster: Cluster, name: str, **expected: Any) -> None:
    """Until the claim's status is just that."""

    async def check() -> bool:
        found = await cluster.get(RESOURCE_CLAIMS, name)
        return found is not None and (found.get("status") or {}) == expected

    await cluster.until(check, f"{name} has the status {expected}")


async def test_a_claim_is_made_of_the_template_for_the_pod(cluster: Cluster) -> None:
    cluster.start(ResourceClaimController)
    await template(cluster)
    made = await pod(cluster)
    claim = await the_claim(cluster)
    assert claim.metadata.name.startswith("p-gpu-")
    assert claim.metadata.annotations == {"note": "y", POD_CLAIM_NAME: "gpu"}
    assert claim.metadata.labels == {"app": "x"}
    assert claim.metadata.controller is not None
    assert claim.metadata.controller.uid == made["metadata"]["uid"]
    assert claim.spec.devices.requests[0].name == "r"


async def test_a_template_that_is_missing_is_told_and_waited_for(cluster: Cluster) -> None:
    cluster.start(ResourceClaimController)
    await pod(cluster)

    async def told() -> bool:
        words = 'PodResourceClaim gpu: resource claim template "t"'
        events = await cluster.list(EVENTS)
        return any(e.reason == "FailedResourceClaimCreation" and e.message.startswith(words) for e in events)

    await cluster.until(told, "an event")
    await template(cluster)
    await the_claim(cluster)


async def test_a_claim_that_was_made_but_not_noted_is_found_again(cluster: Cluster) -> None:
    await template(cluster)
    owner = await pod(cluster)
    meta = msgspec.convert(owner["metadata"], ObjectMeta)
    made = await cluster.create(RESOURCE_CLAIMS, claim_from(ResourceClaimTemplate(spec={"spec": SPEC}), meta, "gpu"))
    cluster.start(ResourceClaimController)
    assert (await the_claim(cluster)).metadata.name == made["metadata"]["name"]


async def test_a_claim_that_was_deleted_is_made_again(cluster: Cluster) -> None:
    cluster.start(ResourceClaimController)
    await template(cluster)
    await pod(cluster)
    first = await the_claim(cluster)
    await cluster.delete(RESOURCE_CLAIMS, first.metadata.name)

    async def replaced() -> bool:
        return [each.metadata.uid for each in await claims(cluster)] not in ([], [first.metadata.uid])

    await cluster.until(replaced, "another one")
    await the_claim(cluster)


async def test_the_claim_of_a_pod_that_has_ended_goes(cluster: Cluster) -> None:
    cluster.start(ResourceClaimController)
    await template(cluster)
    made = await pod(cluster)
    claim = await the_claim(cluster)
    await allocate(cluster, claim.metadata.name, made)
    await cluster.patch(PODS, "p", {"status": {"phase": "Succeeded"}}, subresource="status")
    await cluster.gone(RESOURCE_CLAIMS, claim.metadata.name)


async def test_a_shared_claim_is_freed_once_its_last_pod_is_gone(cluster: Cluster) -> None:
    cluster.start(ResourceClaimController)
    await named(cluster)
    p, q = [await pod(cluster, name, resourceClaimName="mine") for name in "pq"]
    await allocate(cluster, "mine", p, q)
    await cluster.delete(PODS, "p", grace=0)
    user = {"resource": "pods", "name": "q", "uid": q["metadata"]["uid"]}
    await settled(cluster, "mine", allocation={"devices": {"results": [RESULT]}}, reservedFor=[user])
    await cluster.delete(PODS, "q", grace=0)
    await settled(cluster, "mine")

    async def released() -> bool:
        found = await cluster.get(RESOURCE_CLAIMS, "mine")
        return found is not None and not found["metadata"].get("finalizers")

    await cluster.until(released, "the finalizer is gone")


async def test_reservations_of_pods_that_were_never_seen_are_taken_away(cluster: Cluster) -> None:
    await named(cluster)
    await allocate(cluster, "mine", {"metadata": {"name": "ghost", "uid": "ghost"}})
    cluster.start(ResourceClaimController)
    await settled(cluster, "mine")


async def test_a_deleted_claim_goes_once_it_is_not_used(cluster: Cluster) -> None:
    cluster.start(ResourceClaimController)
    await named(cluster)
    made = await pod(cluster, resourceClaimName="mine")
    await allocate(cluster, "mine", made)
    await cluster.delete(RESOURCE_CLAIMS, "mine")
    assert await cluster.get(RESOURCE_CLAIMS, "mine") is not None
    await cluster.delete(PODS, "p", grace=0)
    await cluster.gone(RESOURCE_CLAIMS, "mine")


async def test_a_pod_that_was_given_a_node_by_hand_gets_its_reservation(cluster: Cluster) -> None:
    cluster.start(ResourceClaimController)
    await cluster.add_node("n")
    await named(cluster)
    made = await pod(cluster, resourceClaimName="mine")
    await allocate(cluster, "mine")
    await cluster.bind("p", "n")
    user = {"resource": "pods", "name": "p", "uid": made["metadata"]["uid"]}
    await settled(cluster, "mine", allocation={"devices": {"results": [RESULT]}}, reservedFor=[user])


def test_long_names_are_shortened_alike() -> None:
    prefix = claim_from(ResourceClaimTemplate(), ObjectMeta(name="p" * 60), "g" * 30)["metadata"]["generateName"]
    assert prefix == "p" * 37 + "-" + "g" * 18
