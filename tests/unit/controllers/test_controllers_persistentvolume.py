"""Claims and volumes as their users see them: bound, released, provisioned on a node, and why not."""

from __future__ import annotations

from typing import Any

from tiphys.controllers.ephemeral_volume import EphemeralVolumeController
from tiphys.controllers.local_provisioner import LocalProvisioner
from tiphys.controllers.persistentvolume import PersistentVolumeBinder
from tiphys.controllers.protection import PvcProtectionController, PvProtectionController
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.volume_binding import PROVISIONED_BY, SELECTED_NODE
from tiphys.kinds.storage.local import DIRECTORY, FINALIZER
from tiphys.kinds.storage.storageclass import STORAGE_CLASSES

Json = dict[str, Any]


def volume(name: str, size: str = "1Gi", **spec: Any) -> Json:
    body = {
        "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": f"/tmp/{name}"},
        "storageClassName": "", **spec,
    }  # fmt: skip
    return {"metadata": {"name": name, "labels": {"name": name}}, "spec": body}


def claim(name: str = "c", size: str = "1Gi", **spec: Any) -> Json:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": ""}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {**body, **spec}}


def storage_class(name: str, provisioner: str = "example.com/x", **fields: Any) -> Json:
    return {"metadata": {"name": name}, "provisioner": provisioner, **fields}


async def phase(cluster: Any, resource: Any, name: str, wanted: str) -> Json:
    async def check() -> Json | None:
        found = await cluster.get(resource, name)
        return found if found is not None and found["status"].get("phase") == wanted else None

    found: Json = await cluster.until(check, f"{resource.plural} {name} {wanted}")
    return found


async def bound(cluster: Any, name: str = "c") -> str:
    """The volume of a claim once it has one."""
    found = await phase(cluster, PERSISTENT_VOLUME_CLAIMS, name, "Bound")
    volume: str = found["spec"]["volumeName"]
    return volume


async def told(cluster: Any, name: str, reason: str) -> str:
    """The message of an event."""

    async def check() -> str | None:
        events = await cluster.list(EVENTS)
        return next((e.message for e in events if (e.involved_object.name, e.reason) == (name, reason)), None)

    message: str = await cluster.until(check, f"event {reason} of {name}")
    return message


async def test_a_claim_gets_the_smallest_volume_that_fits(cluster: Any) -> None:
    cluster.start(PersistentVolumeBinder)
    many = {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"]}
    for made in (volume("large", "5Gi"), volume("fits", "2Gi"), volume("small"), volume("many", "2Gi", **many)):
        await cluster.create(PERSISTENT_VOLUMES, made)
        await phase(cluster, PERSISTENT_VOLUMES, made["metadata"]["name"], "Available")
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(size="2Gi"))
    assert await bound(cluster) == "fits"
    found = await cluster.get(PERSISTENT_VOLUME_CLAIMS, "c")
    assert found is not None
    assert found["status"]["capacity"] == {"storage": "2Gi"}
    assert found["metadata"]["annotations"] == {
        "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
    }  # fmt: skip
    held = await phase(cluster, PERSISTENT_VOLUMES, "fits", "Bound")
    assert held["spec"]["claimRef"]["uid"] == found["metadata"]["uid"]


async def test_a_claim_waits_for_a_volume_of_its_class_mode_and_labels(cluster: Any) -> None:
    cluster.start(PersistentVolumeBinder)
    wanted = claim(selector={"matchLabels": {"name": "right"}}, storageClassName="slow")
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, wanted)
    assert await told(cluster, "c", "ProvisioningFailed") == 'storageclass.storage.k8s.io "slow" not found'
    for made in (
        volume("other", storageClassName="slow"), volume("right-class", storageClassName=""),
        volume("block", storageClassName="slow", volumeMode="Block"), volume("right", storageClassName="slow"),
    ):  # fmt: skip
        await cluster.create(PERSISTENT_VOLUMES, made)
    assert await bound(cluster) == "right"


async def test_two_claims_do_not_get_one_volume(cluster: Any) -> None:
    cluster.start(PersistentVolumeBinder)
    for name in ("a", "b"):
        await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(name))
        await told(cluster, name, "FailedBinding")
    await cluster.create(PERSISTENT_VOLUMES, volume("one"))
    await phase(cluster, PERSISTENT_VOLUMES, "one", "Bound")
    await cluster.create(PERSISTENT_VOLUMES, volume("two"))
    assert {await bound(cluster, "a"), await bound(cluster, "b")} == {"one", "two"}


async def test_a_volume_that_is_named_is_the_one(cluster: Any) -> None:
    cluster.start(PersistentVolumeBinder)
    await cluster.create(PERSISTENT_VOLUMES, volume("small"))
    await cluster.create(PERSISTENT_VOLUMES, volume("named", "9Gi"))
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(volumeName="named"))
    assert await bound(cluster) == "named"
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim("big", "2Gi", volumeName="small"))
    words = 'Cannot bind to requested volume "small": requested PV is too small'
    assert await told(cluster, "big", "VolumeMismatch") == words
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim("late", volumeName="named"))
    assert await told(cluster, "late", "FailedBinding") == 'volume "named" already bound to a different claim.'


async def test_a_volume_kept_for_a_claim_is_given_to_no_other(cluster: Any) -> None:
    cluster.start(PersistentVolumeBinder)
    kept = {"claimRef": {"namespace": "default", "name": "c"}}
    await cluster.create(PERSISTENT_VOLUMES, volume("kept", **kept))
    await phase(cluster, PERSISTENT_VOLUMES, "kept", "Available")
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim("other"))
    await told(cluster, "other", "FailedBinding")
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim())
    assert await bound(cluster) == "kept"


async def test_what_becomes_of_a_volume_when_its_claim_goes(cluster: Any) -> None:
    cluster.start(PersistentVolumeBinder)
    cluster.start(PvcProtectionController)
    for name, policy, then in (
        ("keep", "Retain", "Released"), ("recycle", "Recycle", "Failed"), ("delete", "Delete", "Failed"),
    ):  # fmt: skip
        made = volume(name, persistentVolumeReclaimPolicy=policy)
        await cluster.create(PERSISTENT_VOLUMES, made)
        await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(name, volumeName=name))
        await bound(cluster, name)
        await cluster.delete(PERSISTENT_VOLUME_CLAIMS, name)
        await phase(cluster, PERSISTENT_VOLUMES, name, then)
    assert await told(cluster, "recycle", "VolumeFailedRecycle") == "No recycler plugin found for the volume!"
    assert "no deletable volume plugin matched" in await told(cluster, "delete", "VolumeFailedDelete")
    # A claim of the same name is another claim.
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim("keep"))
    await told(cluster, "keep", "FailedBinding")


async def test_a_claim_whose_volume_is_gone_is_lost(cluster: Any) -> None:
    cluster.start(PersistentVolumeBinder)
    await cluster.create(PERSISTENT_VOLUMES, volume("v"))
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim())
    await bound(cluster)
    await cluster.delete(PERSISTENT_VOLUMES, "v")
    await cluster.patch(PERSISTENT_VOLUMES, "v", {"metadata": {"finalizers": None}})
    await phase(cluster, PERSISTENT_VOLUME_CLAIMS, "c", "Lost")
    words = "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
    assert await told(cluster, "c", "ClaimLost") == words


async def test_others_are_asked_to_make_volumes(cluster: Any) -> None:
    cluster.start(PersistentVolumeBinder)
    await cluster.create(STORAGE_CLASSES, storage_class("x"))
    await cluster.create(STORAGE_CLASSES, storage_class("none", "kubernetes.io/no-provisioner"))
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="x"))
    assert "external provisioner 'example.com/x'" in await told(cluster, "c", "ExternalProvisioning")
    found = await cluster.get(PERSISTENT_VOLUME_CLAIMS, "c")
    assert found is not None
    assert found["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"] == "example.com/x"
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim("never", storageClassName="none"))
    assert "no volume plugin matched" in await told(cluster, "never", "ProvisioningFailed")
    # What the provisioner makes names the claim.
    reference = {"namespace": "default", "name": "c", "uid": found["metadata"]["uid"]}
    await cluster.create(PERSISTENT_VOLUMES, volume("made", storageClassName="x", claimRef=reference))
    assert await bound(cluster) == "made"


async def test_a_default_class_that_comes_later_is_given_to_who_said_nothing(cluster: Any) -> None:
    await cluster.delete(STORAGE_CLASSES, "local")
    cluster.start(PersistentVolumeBinder)
    said_nothing = claim()
    del said_nothing["spec"]["storageClassName"]
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, said_nothing)
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim("none"))
    await told(cluster, "c", "FailedBinding")
    made = storage_class("std")
    made["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    await cluster.create(STORAGE_CLASSES, made)
    assert "example.com/x" in await told(cluster, "c", "ExternalProvisioning")
    other = await cluster.get(PERSISTENT_VOLUME_CLAIMS, "none")
    assert other is not None
    assert other["spec"]["storageClassName"] == ""


def start_local(cluster: Any) -> None:
    for each in (PersistentVolumeBinder, LocalProvisioner, PvcProtectionController, PvProtectionController):
        cluster.start(each)


async def add_node(cluster: Any, name: str = "n") -> None:
    labels = {"kubernetes.io/hostname": name}
    await cluster.add_node(name, metadata={"labels": labels, "annotations": {DIRECTORY: "/data/volumes"}})


async def select(cluster: Any, node: str = "n") -> None:
    """As the scheduler does; a second later, for events of one moment would have one name."""
    await cluster.clock.advance(1)
    await cluster.patch(PERSISTENT_VOLUME_CLAIMS, "c", {"metadata": {"annotations": {SELECTED_NODE: node}}})


async def test_a_local_volume_is_made_where_its_pod_goes(cluster: Any) -> None:
    start_local(cluster)
    await add_node(cluster)
    wanted = claim(storageClassName="local")
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, wanted)
    words = "waiting for first consumer to be created before binding"
    assert await told(cluster, "c", "WaitForFirstConsumer") == words
    await select(cluster)
    found = await phase(cluster, PERSISTENT_VOLUMES, await bound(cluster), "Bound")
    assert found["spec"]["local"]["path"] == f"/data/volumes/{found['metadata']['name']}"
    assert found["metadata"]["annotations"][PROVISIONED_BY] == "tiphys.dev/local"
    term = found["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]
    assert term["matchExpressions"][0]["values"] == ["n"]


async def test_a_local_volume_goes_with_its_claim_once_its_node_let_it_go(cluster: Any) -> None:
    start_local(cluster)
    await add_node(cluster)
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="local"))
    await select(cluster)
    name = await bound(cluster)
    await cluster.delete(PERSISTENT_VOLUME_CLAIMS, "c")

    async def held() -> bool:
        found = await cluster.get(PERSISTENT_VOLUMES, name)
        return found is not None and found["metadata"].get("finalizers") == [FINALIZER]

    await cluster.until(held, "only the node holds it")
    # The node never comes back: there is no directory any more either.
    await cluster.delete(NODES, "n")
    await cluster.gone(PERSISTENT_VOLUMES, name)


async def test_a_local_volume_that_is_wanted_at_once_is_made_on_a_node_that_is_ready(cluster: Any) -> None:
    start_local(cluster)
    await cluster.create(STORAGE_CLASSES, storage_class("now", "tiphys.dev/local", volumeBindingMode="Immediate"))
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="now"))
    await add_node(cluster, "down")
    await add_node(cluster, "up")
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await cluster.patch(NODES, "up", ready, subresource="status")
    found = await cluster.get(PERSISTENT_VOLUMES, await bound(cluster))
    assert found is not None
    assert found["metadata"]["labels"] == {"tiphys.dev/node": "up"}


async def test_a_local_volume_of_a_node_that_is_gone_is_made_elsewhere(cluster: Any) -> None:
    start_local(cluster)
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="local"))
    await told(cluster, "c", "WaitForFirstConsumer")
    await select(cluster, "gone")
    assert 'node "gone" does not exist' in await told(cluster, "c", "ProvisioningFailed")

    async def free() -> bool:
        found = await cluster.get(PERSISTENT_VOLUME_CLAIMS, "c")
        return found is not None and SELECTED_NODE not in found["metadata"]["annotations"]

    await cluster.until(free, "another node may be chosen")


async def test_local_volumes_are_for_one_node(cluster: Any) -> None:
    start_local(cluster)
    await add_node(cluster)
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="local", accessModes=["ReadWriteMany"]))
    await select(cluster)
    assert "ReadWriteOncePod only" in await told(cluster, "c", "ProvisioningFailed")


async def test_a_local_volume_grows_with_its_claim(cluster: Any) -> None:
    start_local(cluster)
    await add_node(cluster)
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="local"))
    await select(cluster)
    name = await bound(cluster)
    await cluster.patch(PERSISTENT_VOLUME_CLAIMS, "c", {"spec": {"resources": {"requests": {"storage": "3Gi"}}}})

    async def grown() -> bool:
        found, held = await cluster.get(PERSISTENT_VOLUME_CLAIMS, "c"), await cluster.get(PERSISTENT_VOLUMES, name)
        assert found is not None
        assert held is not None
        return found["status"]["capacity"] == held["spec"]["capacity"] == {"storage": "3Gi"}

    await cluster.until(grown, "the volume is larger")


async def test_ephemeral_volumes_get_claims_that_are_their_pods(cluster: Any) -> None:
    cluster.start(EphemeralVolumeController)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": claim()["spec"]}
    volumes = [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}]
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": volumes}
    made = await cluster.create(PODS, {"metadata": {"name": "p"}, "spec": spec})

    async def check() -> Json | None:
        return await cluster.get(PERSISTENT_VOLUME_CLAIMS, "p-scratch")

    found = await cluster.until(check, "the claim")
    assert found["metadata"]["labels"] == {"a": "b"}
    assert found["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    await cluster.create(PERSISTENT_VOLUME_CLAIMS, claim("q-scratch"))
    await cluster.create(PODS, {"metadata": {"name": "q"}, "spec": spec})
    assert "(pod is not owner)" in await told(cluster, "q", "FailedBinding")
