"""Volumes that are there are given to one claim each, fit it, and are on the node, whatever there is."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.api.quantity import parse
from tiphys.kinds.core.node import Node
from tiphys.kinds.core.node_selector import selects
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES, PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.storage.storageclass import STORAGE_CLASSES, StorageClass
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.plugins.volume_binding import VolumeBinding
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.volumes import Volumes

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
NODES = {"a": "1", "b": "1", "c": "2"}
MODES = ("ReadWriteOnce", "ReadOnlyMany")

sizes = st.integers(1, 4)
modes = st.lists(st.sampled_from(MODES), min_size=1, unique=True)
classes = st.sampled_from(("made", "there"))
places = st.one_of(
    st.none(),
    st.tuples(st.just(HOST), st.lists(st.sampled_from(sorted(NODES)), min_size=1, unique=True)),
    st.tuples(st.just(ZONE), st.lists(st.sampled_from(("1", "2", "3")), min_size=1, unique=True)),
)
volumes = st.lists(st.tuples(sizes, modes, classes, places), max_size=8)
# Pods by what each of their claims asks for.
pods = st.lists(st.lists(st.tuples(sizes, modes, classes), min_size=1, max_size=3), min_size=1, max_size=4)


def volume(number: int, size: int, access: list[str], class_: str, place: tuple[str, list[str]] | None) -> Any:
    spec: dict[str, Any] = {
        "capacity": {"storage": f"{size}Gi"}, "accessModes": access, "storageClassName": class_,
        "hostPath": {"path": "/x"},
    }  # fmt: skip
    if place is not None:
        rule = {"key": place[0], "operator": "In", "values": place[1]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}}
    return msgspec.convert(
        {"metadata": {"name": f"v{number}"}, "spec": spec, "status": {"phase": "Available"}}, PersistentVolume
    )


def claim(name: str, size: int, access: list[str], class_: str) -> Any:
    spec = {
        "accessModes": access, "resources": {"requests": {"storage": f"{size}Gi"}}, "storageClassName": class_,
    }  # fmt: skip
    meta = {"name": name, "namespace": "n", "uid": name}
    return msgspec.convert({"metadata": meta, "spec": spec}, PersistentVolumeClaim)


def cluster(found: list[Any]) -> Cluster:
    made = Cluster()
    view = made.view(Volumes)
    for name, zone in NODES.items():
        meta = {"name": name, "labels": {HOST: name, ZONE: zone}}
        made.set_node(msgspec.convert({"metadata": meta}, Node))
    for name, provisioner in (("made", "x"), ("there", "kubernetes.io/no-provisioner")):
        body = {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"}
        view.changed(STORAGE_CLASSES, None, msgspec.convert(body, StorageClass))
    for number, each in enumerate(found):
        view.changed(PERSISTENT_VOLUMES, None, volume(number, *each))
    return made


@settings(max_examples=150, deadline=None)
@given(volumes, pods, st.sampled_from(sorted(NODES)))
def test_what_pods_are_given_fits_and_is_theirs_alone(found: list[Any], wanted: list[Any], first: str) -> None:
    made, plugin = cluster(found), VolumeBinding()
    view, held = made.view(Volumes), list[str]()
    for number, claims in enumerate(wanted):
        names = [f"c{number}-{position}" for position in range(len(claims))]
        for name, each in zip(names, claims, strict=True):
            view.changed(PERSISTENT_VOLUME_CLAIMS, None, claim(name, *each))
        mounts = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
        meta = {"name": f"p{number}", "namespace": "n"}
        info = PodInfo(msgspec.convert({"metadata": meta, "spec": {"containers": [], "volumes": mounts}}, Pod))
        mask = plugin.filter(info, made)
        assert mask is not None
        able = [node for row, node in made.nodes() if mask[row]]
        if not able:
            continue
        node = next((each for each in able if each.metadata.name == first), able[0])
        plugin.reserve(info, node.metadata.name, made)
        decision = view.decisions[info.key]
        assert sorted(decision.claims) == sorted(f"n/{name}" for name in names)
        for key, name in decision.bindings.items():
            given_, asked = view.volumes[name].spec, view.claims[key].spec
            assert parse(given_.capacity["storage"]) >= parse(asked.resources.requests["storage"])
            assert set(asked.access_modes) <= set(given_.access_modes)
            assert given_.storage_class_name == asked.storage_class_name
            assert selects(given_.node_affinity.required if given_.node_affinity else None, node)
        assert all(view.claims[key].spec.storage_class_name == "made" for key in decision.provisions)
        held += decision.bindings.values()
    assert len(held) == len(set(held))
    for key in list(view.decisions):
        view.revoke(key)
    # All is given back: what was free is.
    assert {name for c in view.claims.values() for name in (v.metadata.name for v in view.candidates(c))} >= set(held)
