"""`tiphys why` on pods that wait for volumes: what is wrong with their claims, and what would help."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from scheduler_objects import Json, node_json, pod_json
from volume_objects import claim_json, using, volume_json

from tiphys.main.why import answer

HOST = "kubernetes.io/hostname"


class World:
    """A pod with the claim `c` and lists of whatever else there is, by plural."""

    url = "https://test"

    def __init__(self, **lists: list[Json]) -> None:
        self.pod = pod_json("p", **using("c"))
        nodes = [node_json(name, labels={HOST: name}) for name in ("a", "b")]
        self.lists = {"nodes": nodes, "pods": [self.pod], **lists}

    def call(self, method: str, path: str, **options: Any) -> bytes:
        """As the transport of the command line."""
        name = path.rpartition("/")[2]
        if name == "p":
            return msgspec.json.encode(self.pod)
        return msgspec.json.encode({"metadata": {}, "items": self.lists.get(name) or []})

    def why(self) -> str:
        return "\n".join(answer(self, "default", "p"))  # type: ignore[arg-type]


def bound(**spec: Any) -> Json:
    made = claim_json("c", volumeName="v", **spec)
    made["metadata"]["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
    return made


def late(provisioner: str = "example.com/x", **fields: Any) -> Json:
    return {
        "metadata": {"name": "late"}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer", **fields,
    }  # fmt: skip


_ZONE = [{"matchLabelExpressions": [{"key": "topology.kubernetes.io/zone", "values": ["z"]}]}]
_NONE = "kubernetes.io/no-provisioner"
CASES: dict[str, tuple[dict[str, list[Json]], str]] = {
    "no claim": ({}, "Smallest change: a PersistentVolumeClaim c in the namespace default"),
    "no class": (
        {"persistentvolumeclaims": [claim_json("c", storageClassName="fast")]},
        "Smallest change: a StorageClass fast, which claim c names, or a free PersistentVolume of that class",
    ),
    "no class said": (
        {"persistentvolumeclaims": [claim_json("c", storageClassName="")]},
        "a free PersistentVolume of 1Gi or more with ReadWriteOnce for claim c, or a storageClassName in it",
    ),
    "unbound": (
        {
            "persistentvolumeclaims": [claim_json("c")],
            "storageclasses": [late() | {"volumeBindingMode": "Immediate"}],
        },
        "a volume for claim c from example.com/x: `kubectl describe pvc c` tells what it does",
    ),
    "elsewhere": (
        {"persistentvolumeclaims": [bound()], "persistentvolumes": [volume_json("v", node="gone")]},
        f"does not have the volume v of claim c; a node with {HOST} In gone, where the volume is",
    ),
    "nothing to bind": (
        {"persistentvolumeclaims": [claim_json("c")], "storageclasses": [late(_NONE)]},
        "has no volume for claim c; a free PersistentVolume of class late of 1Gi or more with ReadWriteOnce there",
    ),
    "outside": (
        {"persistentvolumeclaims": [claim_json("c")], "storageclasses": [late(allowedTopologies=_ZONE)]},
        "is outside of what StorageClass late allows by topology.kubernetes.io/zone",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_names_what_is_missing(case: str) -> None:
    lists, words = CASES[case]
    assert words in World(**lists).why()


def test_a_pod_that_waits_for_its_volume_is_not_called_placeable() -> None:
    claim = claim_json("c")
    claim["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": "b"}
    said = World(persistentvolumeclaims=[claim], storageclasses=[late()]).why()
    words = "example.com/x is to make the volume of claim c on b: `kubectl describe pvc c`"
    assert said == f"pod default/p goes to b once its volumes are there: {words}"


def test_the_node_with_the_volume_is_the_nearest_though_something_else_is_wrong_there() -> None:
    world = World(persistentvolumeclaims=[bound()], persistentvolumes=[volume_json("v", node="b")])
    world.lists["nodes"][1]["spec"]["unschedulable"] = True
    assert "kubectl uncordon b" in world.why()


def test_who_uses_a_claim_for_one_pod_is_named() -> None:
    other = pod_json("holder", **using("c"), nodeName="a")
    modes = ["ReadWriteOncePod"]
    world = World(
        persistentvolumeclaims=[bound(accessModes=modes)], persistentvolumes=[volume_json("v", accessModes=modes)]
    )
    world.lists["pods"].append(other)
    said = world.why()
    assert "may not share a claim of access mode ReadWriteOncePod; evicting default/holder would free it" in said


def test_limits_and_zones_are_named() -> None:
    csi = {"driver": "d", "volumeHandle": "v"}
    volume = volume_json("v", hostPath=None, csi=csi)
    node = {"metadata": {"name": "a"}, "spec": {"drivers": [{"name": "d", "nodeID": "a", "allocatable": {"count": 0}}]}}
    both = [node, node | {"metadata": {"name": "b"}}]
    said = World(persistentvolumeclaims=[bound()], persistentvolumes=[volume], csinodes=both).why()
    assert "has as many volumes as it may (0 of d)" in said
    volume["metadata"]["labels"] = {"topology.kubernetes.io/zone": "z1"}
    world = World(persistentvolumeclaims=[bound()], persistentvolumes=[volume])
    for each in world.lists["nodes"]:
        each["metadata"]["labels"]["topology.kubernetes.io/zone"] = "z2"
    assert "is not in topology.kubernetes.io/zone z1, where volume v is; a node in z1" in world.why()
