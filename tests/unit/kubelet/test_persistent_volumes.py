"""Volumes behind claims on a node: which are mounted, why others are not, and what is left of those that go."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from simulation import Simulation, simulation

from tiphys.api.errors import NotFound
from tiphys.api.meta import ObjectMeta
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES, PersistentVolume
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.volumes import local, ownership
from tiphys.kubelet.volumes.persistent import NotMounted, PersistentVolumes

Json = dict[str, Any]


def claim_json(**spec: Any) -> Json:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "v", **spec}
    return {"metadata": {"name": "c", "namespace": "default"}, "spec": body}


def volume_json(name: str = "v", **spec: Any) -> Json:
    body = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}, **spec}
    return {"metadata": {"name": name}, "spec": {key: value for key, value in body.items() if value is not None}}


def using(**source: Any) -> Json:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "c", **source}}
    return {"containers": [{"name": "main", "image": "i"}], "volumes": [volume]}


@pytest.fixture
async def node() -> AsyncIterator[Simulation]:
    async with simulation() as made:
        yield made


async def bind(node: Simulation, **volume: Any) -> None:
    claims, volumes = node.client.of(PERSISTENT_VOLUME_CLAIMS), node.client.of(PERSISTENT_VOLUMES)
    uid = (await claims.get("c", "default")).metadata.uid
    reference = {"namespace": "default", "name": "c", "uid": uid}
    await volumes.create_json(volume_json(claimRef=reference, **volume))
    status = {"status": {"phase": "Bound"}}
    await claims.patch(ObjectMeta(name="c", namespace="default"), status, subresource="status")
    await node.settle()


async def why(node: Simulation) -> str:
    events, _ = await node.client.of(EVENTS).list("default")
    return next((event.message for event in reversed(events) if event.reason == "FailedMount"), "")


async def test_a_pod_starts_once_its_claim_is_there_and_bound(node: Simulation) -> None:
    await node.create(using())
    words = 'PVC default/c: failed to fetch PVC from API server: persistentvolumeclaims "c" not found'
    assert words in await why(node)
    await node.client.of(PERSISTENT_VOLUME_CLAIMS).create_json(claim_json())
    await node.settle()
    assert (await node.status())["phase"] == "Pending"
    assert (await why(node)).endswith("PVC is not bound")
    await bind(node)
    assert (await node.status())["phase"] == "Running"


async def test_no_pod_starts_on_a_claim_that_is_being_deleted(node: Simulation) -> None:
    claims = node.client.of(PERSISTENT_VOLUME_CLAIMS)
    await claims.create_json(claim_json())
    await bind(node)
    await node.create(using(), name="before")
    await claims.delete(ObjectMeta(name="c", namespace="default"))
    await node.settle()
    await node.create(using())
    assert (await why(node)).endswith("PVC is being deleted")
    assert (await node.status())["phase"] == "Pending"


async def test_a_volume_of_another_node_is_not_mounted(node: Simulation) -> None:
    await node.client.of(PERSISTENT_VOLUME_CLAIMS).create_json(claim_json())
    elsewhere = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]}
    await bind(node, nodeAffinity={"required": {"nodeSelectorTerms": [elsewhere]}})
    await node.create(using())
    assert 'MountVolume.NodeAffinity check failed for volume "v"' in await why(node)


async def test_a_volume_for_one_pod_has_one(node: Simulation) -> None:
    await node.client.of(PERSISTENT_VOLUME_CLAIMS).create_json(claim_json(accessModes=["ReadWriteOncePod"]))
    await bind(node, accessModes=["ReadWriteOncePod"])
    await node.create(using(), name="first")
    await node.create(using())
    assert "ReadWriteOncePod access mode and is already in use by another pod" in await why(node)
    assert (await node.status())["phase"] == "Pending"


async def test_the_node_lets_a_volume_go_that_is_used_no_more(node: Simulation) -> None:
    volumes = node.client.of(PERSISTENT_VOLUMES)
    made = volume_json()
    made["metadata"] |= {
        "labels": {"tiphys.dev/node": "n1"}, "finalizers": ["tiphys.dev/local-volume"],
        "annotations": {"pv.kubernetes.io/provisioned-by": "tiphys.dev/local"},
    }  # fmt: skip
    await volumes.create_json(made)
    meta = ObjectMeta(name="v")
    await volumes.patch(meta, {"metadata": {"finalizers": ["tiphys.dev/local-volume"]}})
    await volumes.patch(meta, {"status": {"phase": "Bound"}}, subresource="status")
    await volumes.delete(meta)
    await node.settle()
    assert (await volumes.get("v")).metadata.finalizers == ["tiphys.dev/local-volume"]
    await volumes.patch(meta, {"status": {"phase": "Released"}}, subresource="status")
    await node.settle()
    with pytest.raises(NotFound):
        await volumes.get("v")


def own(directory: Path, name: str = "v") -> PersistentVolume:
    """A volume that was made for a claim."""
    made = volume_json(name, hostPath=None, local={"path": str(directory / name)})
    made["metadata"] |= {
        "labels": {"tiphys.dev/node": "n1"}, "annotations": {"pv.kubernetes.io/provisioned-by": "tiphys.dev/local"},
    }  # fmt: skip
    return msgspec.convert(made, PersistentVolume)


def pod(**context: Any) -> Pod:
    spec = {"containers": [], "securityContext": context}
    return msgspec.convert({"metadata": {"name": "p", "uid": "u"}, "spec": spec}, Pod)


def test_a_volume_is_made_at_its_first_mount_below_a_private_directory(tmp_path: Path) -> None:
    volumes = PersistentVolumes(tmp_path / "volumes", lambda source: source.path)
    path = volumes.mount(pod(), own(tmp_path / "volumes"), read_only=False)
    (Path(path) / "file").write_text("kept")
    assert volumes.mount(pod(), own(tmp_path / "volumes"), read_only=False) == path
    assert (Path(path) / "file").read_text() == "kept"
    assert stat.S_IMODE((tmp_path / "volumes").stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o777


def test_volumes_are_mounted_from_where_they_may_be(tmp_path: Path) -> None:
    volumes = PersistentVolumes(tmp_path / "volumes", lambda source: source.path)
    with pytest.raises(NotMounted, match="where this node keeps its own"):
        volumes.mount(pod(), own(tmp_path / "elsewhere"), read_only=False)
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "link").symlink_to(tmp_path)
    with pytest.raises(NotMounted, match="is a link"):
        volumes.mount(pod(), own(tmp_path / "volumes", "link"), read_only=False)
    for spec, reason in (
        ({"local": {"path": str(tmp_path / "missing")}, "hostPath": None}, "does not exist"),
        ({"nfs": {"server": "s", "path": "/"}, "hostPath": None}, "only volumes of type hostPath and local"),
        ({"volumeMode": "Block"}, "volumeMode Block is not supported"),
    ):
        found = msgspec.convert(volume_json(**spec), PersistentVolume)
        with pytest.raises(NotMounted, match=reason):
            volumes.mount(pod(), found, read_only=False)


def test_a_group_gets_all_of_a_volume_but_nothing_that_it_links_to(tmp_path: Path) -> None:
    group, outside, inside = os.getgid(), tmp_path / "outside", tmp_path / "volume"
    outside.write_text("")
    outside.chmod(0o600)
    (inside / "deep").mkdir(parents=True, mode=0o700)
    (inside / "deep" / "file").write_text("")
    (inside / "deep" / "file").chmod(0o600)
    (inside / "link").symlink_to(outside)
    ownership.give(inside, group, policy="Always")
    assert stat.S_IMODE((inside / "deep" / "file").stat().st_mode) == 0o660
    assert (inside / "deep").stat().st_mode & (stat.S_ISGID | 0o070) == stat.S_ISGID | 0o070
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600
    (inside / "deep" / "file").chmod(0o600)
    ownership.give(inside, group, policy="OnRootMismatch")
    assert stat.S_IMODE((inside / "deep" / "file").stat().st_mode) == 0o600


def test_removing_a_volume_follows_no_link(tmp_path: Path) -> None:
    outside, directory = tmp_path / "outside", tmp_path / "volumes"
    for place in (outside, directory / "v"):
        place.mkdir(parents=True)
        (place / "file").write_text("")
    (directory / "v" / "link").symlink_to(outside)
    (directory / "w").symlink_to(outside)
    for name in ("v", "w", "never-made"):
        local.remove(directory, name)
    assert os.listdir(directory) == []
    assert (outside / "file").exists()
    for name in ("..", "a/b", ""):
        with pytest.raises(OSError, match="not the name of a volume"):
            local.remove(directory, name)
