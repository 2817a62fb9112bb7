"""Where volumes that are bound may be used: zones, limits of drivers, and claims that one pod may use."""

from __future__ import annotations

from typing import Any

import msgspec
from scheduler_objects import info, names, node
from volume_objects import claim_json, using, volume_json

from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES, PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from tiphys.kinds.core.volume_binding import BIND_COMPLETED
from tiphys.kinds.storage.csidriver import CSI_DRIVERS, CsiDriver
from tiphys.kinds.storage.csinode import CSI_NODES, CsiNode
from tiphys.kinds.storage.csistoragecapacity import CSI_STORAGE_CAPACITIES, CsiStorageCapacity
from tiphys.kinds.storage.storageclass import STORAGE_CLASSES, StorageClass
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.pipeline import Unschedulable, choose
from tiphys.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from tiphys.scheduler.plugins.volume_binding import VolumeBinding
from tiphys.scheduler.plugins.volume_restrictions import VolumeRestrictions
from tiphys.scheduler.plugins.volume_zone import VolumeZone
from tiphys.scheduler.volumes import Volumes

ZONE = "topology.kubernetes.io/zone"


def storage(*nodes: Any) -> Cluster:
    """A cluster that looks at volumes."""
    made = Cluster()
    made.view(Volumes)
    for each in nodes or (node("a"), node("b")):
        made.set_node(each)
    return made


def bind(of: Cluster, name: str = "c", *, labels: dict[str, str] | None = None, **spec: Any) -> None:
    """A claim with a volume of the same name."""
    modes = {"accessModes": spec["accessModes"]} if "accessModes" in spec else {}
    claim = claim_json(name, volumeName=name, **modes)
    claim["metadata"]["annotations"] = {BIND_COMPLETED: "yes"}
    volume = volume_json(name, **spec)
    volume["metadata"]["labels"] = labels or {}
    of.view(Volumes).changed(PERSISTENT_VOLUME_CLAIMS, None, msgspec.convert(claim, PersistentVolumeClaim))
    of.view(Volumes).changed(PERSISTENT_VOLUMES, None, msgspec.convert(volume, PersistentVolume))


def test_pods_without_claims_are_not_looked_at():
    found = storage()
    for plugin in (VolumeBinding(), VolumeZone(), VolumeRestrictions(), NodeVolumeLimits()):
        assert plugin.refuse(info(), found) is None
        assert plugin.filter(info(), found) is None


def test_volumes_are_used_in_their_zone_whatever_its_label_is_called():
    old = "failure-domain.beta.kubernetes.io/zone"
    found = storage(
        node("here", labels={ZONE: "z1"}), node("there", labels={ZONE: "z2"}), node("old", labels={old: "z1"}),
        node("unlabelled"), node("region", labels={"topology.kubernetes.io/region": "r"}),
    )  # fmt: skip
    bind(found, labels={ZONE: "z1"})
    assert names(VolumeZone().filter(info(**using("c")), found), found) == {"here", "old", "unlabelled"}
    bind(found, "d", labels={ZONE: "z1__z2"})
    assert names(VolumeZone().filter(info(**using("d")), found), found) == {"here", "there", "old", "unlabelled"}
    bind(found, "plain")
    assert VolumeZone().filter(info(**using("plain")), found) is None


def test_a_claim_for_one_pod_keeps_others_out_unless_that_one_goes():
    found, plugin = storage(), VolumeRestrictions()
    bind(found, accessModes=["ReadWriteOncePod"])
    waiting = info("q", **using("c"))
    assert plugin.filter(waiting, found) is None
    found.place(info("p", **using("c")), "b")
    assert names(plugin.filter(waiting, found), found) == set()
    assert names(plugin.lasting(waiting, found), found) == {"b"}
    refused = choose(waiting, found)
    assert isinstance(refused, Unschedulable)
    words = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    assert refused.reasons == {words: 2}
    found.remove_pod("default/p")
    assert plugin.filter(waiting, found) is None


def limit(of: Cluster, name: str, count: int | None, driver: str = "d") -> None:
    allocatable = {"count": count} if count is not None else None
    drivers = [{"name": driver, "nodeID": name, "allocatable": allocatable}]
    made = msgspec.convert({"metadata": {"name": name}, "spec": {"drivers": drivers}}, CsiNode)
    of.view(Volumes).changed(CSI_NODES, of.view(Volumes).nodes.get(name), made)


def test_a_node_has_no_more_volumes_than_its_driver_says():
    found, plugin = storage(), NodeVolumeLimits()
    for name in ("c", "d", "same"):
        bind(found, name, hostPath=None, csi={"driver": "d", "volumeHandle": "c" if name == "same" else name})
    limit(found, "a", 1)
    found.place(info("p", **using("c")), "a")
    assert names(plugin.filter(info("q", **using("d")), found), found) == {"b"}
    assert names(plugin.lasting(info("q", **using("d")), found), found) == {"a", "b"}
    # What is there already counts once, and others' volumes are others' business.
    assert plugin.filter(info("q", **using("same")), found) is None
    bind(found, "other", hostPath=None, csi={"driver": "e", "volumeHandle": "x"})
    assert plugin.filter(info("q", **using("other")), found) is None
    limit(found, "a", 2)
    assert plugin.filter(info("q", **using("d")), found) is None
    limit(found, "a", 0)
    found.remove_pod("default/p")
    assert names(plugin.lasting(info("q", **using("d")), found), found) == {"b"}


def test_a_volume_is_made_where_its_driver_has_room():
    found = storage(node("a", labels={"rack": "1"}), node("b", labels={"rack": "2"}))
    view = found.view(Volumes)
    made = {"metadata": {"name": "late"}, "provisioner": "d", "volumeBindingMode": "WaitForFirstConsumer"}
    view.changed(STORAGE_CLASSES, None, msgspec.convert(made, StorageClass))
    claim = msgspec.convert(claim_json("c", "5Gi"), PersistentVolumeClaim)
    view.changed(PERSISTENT_VOLUME_CLAIMS, None, claim)
    waiting = info(**using("c"))
    assert names(VolumeBinding().filter(waiting, found), found) == {"a", "b"}
    driver = {"metadata": {"name": "d"}, "spec": {"storageCapacity": True}}
    view.changed(CSI_DRIVERS, None, msgspec.convert(driver, CsiDriver))
    refused = choose(waiting, found)
    assert isinstance(refused, Unschedulable)
    assert refused.reasons == {"node(s) did not have enough free storage": 2}
    for rack, size in (("1", "4Gi"), ("2", "6Gi")):
        room = {
            "metadata": {"name": rack, "namespace": "default"}, "storageClassName": "late", "capacity": size,
            "nodeTopology": {"matchLabels": {"rack": rack}},
        }  # fmt: skip
        view.changed(CSI_STORAGE_CAPACITIES, None, msgspec.convert(room, CsiStorageCapacity))
    assert names(VolumeBinding().filter(waiting, found), found) == {"b"}


def test_a_claim_whose_volume_is_gone_fits_nowhere():
    found = storage()
    bind(found)
    volume = found.view(Volumes).volumes["c"]
    found.view(Volumes).changed(PERSISTENT_VOLUMES, volume, None)
    refused = choose(info(**using("c")), found)
    assert isinstance(refused, Unschedulable)
    assert refused.reasons == {"node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)": 2}
