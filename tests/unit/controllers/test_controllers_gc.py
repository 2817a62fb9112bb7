"""The garbage collector as its users see it: what goes, what waits and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tiphys.api.meta import OwnerReference, Uid
from tiphys.api.resource import ResourceType, resource
from tiphys.controllers.garbage_collector import GarbageCollector, Owner, plan
from tiphys.controllers.garbage_graph import Graph, Metadata, Node, Partial, Place
from tiphys.controllers.garbage_monitors import Monitors
from tiphys.kinds.apiextensions.customresourcedefinition import CUSTOM_RESOURCE_DEFINITIONS
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.namespace import NAMESPACES
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.rbac.clusterrole import CLUSTER_ROLES

FINALIZERS = ("orphan", "foregroundDeletion")


def ref(kind: str, owner: dict[str, Any], api_version: str = "v1", **more: Any) -> dict[str, Any]:
    meta = owner["metadata"]
    return {"apiVersion": api_version, "kind": kind, "name": meta["name"], "uid": meta["uid"], **more}


async def config(cluster: Any, name: str, *owners: dict[str, Any], namespace: str = "default", **meta: Any) -> Any:
    meta |= {"name": name, "namespace": namespace, "ownerReferences": list(owners)}
    return await cluster.create(CONFIG_MAPS, {"metadata": meta})


async def pod(cluster: Any, name: str, *owners: dict[str, Any]) -> Any:
    meta = {"name": name, "namespace": "default", "ownerReferences": list(owners)}
    return await cluster.create(PODS, {"metadata": meta, "spec": {"containers": [{"name": "c", "image": "x"}]}})


async def owners_of(cluster: Any, name: str, namespace: str = "default") -> list[str]:
    found = await cluster.get(CONFIG_MAPS, name, namespace)
    assert found is not None, f"{name} is gone"
    return [each["name"] for each in found["metadata"].get("ownerReferences", [])]


async def sentinel(cluster: Any) -> None:
    """Return when the collector has looked at everything that was written before."""
    nobody = {"metadata": {"name": "nobody", "uid": "none"}}
    await config(cluster, "sentinel", ref("ConfigMap", nobody))
    await cluster.gone(CONFIG_MAPS, "sentinel")


@pytest.mark.parametrize(
    ("owners", "finalizers", "expected"),
    [
        ((), (), ""),
        ((Owner.SOLID,), (), ""),
        ((Owner.SOLID, Owner.ABSENT), (), ""),
        ((Owner.ABSENT,), (), "Background"),
        ((Owner.ABSENT, Owner.WAITING), (), "Background"),
        ((Owner.ABSENT,), ("orphan",), "Orphan"),
        ((Owner.ABSENT,), ("foregroundDeletion",), "Foreground"),
    ],
)
def test_what_is_deleted_and_how(owners: Sequence[Owner], finalizers: Sequence[str], expected: str) -> None:
    found = plan({Uid(str(index)): owner for index, owner in enumerate(owners)}, finalizers, ())
    assert found.delete == expected
    keeps = Owner.SOLID in owners
    dropped = {str(index) for index, owner in enumerate(owners) if keeps and owner is not Owner.SOLID}
    assert found.drop == dropped


def test_waiting_owner_makes_dependents_with_dependents_wait_too() -> None:
    def node(foreground: bool) -> Node:
        return Node(Place(CONFIG_MAPS, "", "x"), Uid("x"), [], foreground, False, foreground)

    assert plan({Uid("a"): Owner.WAITING}, (), [node(False)]).delete == "Foreground"
    assert not plan({Uid("a"): Owner.WAITING}, (), [node(False)]).unblock
    assert plan({Uid("a"): Owner.WAITING}, (), [node(True)]).unblock


def meta(uid: str, *owners: str, **more: Any) -> Metadata:
    references = [OwnerReference(api_version="v1", kind="ConfigMap", name=owner, uid=Uid(owner)) for owner in owners]
    return Metadata(name=uid, namespace="default", uid=Uid(uid), owner_references=references, **more)


RESOURCE: ResourceType[Any] = resource(Partial, group="", version="v1", kind="ConfigMap", plural="configmaps")


def test_graph_keeps_nothing_of_what_owns_nothing() -> None:
    queued: list[str] = []
    graph = Graph(queued.append)
    graph.observe(RESOURCE, meta("alone"))
    graph.observe(RESOURCE, meta("child", "parent"))
    assert set(graph.nodes) == {"child"}
    assert queued == ["child"]
    graph.remove(Uid("parent"))
    assert queued == ["child", "child"]
    assert graph.absent(Uid("parent"))
    graph.remove(Uid("child"))
    assert not graph.nodes
    assert graph.dependents(Uid("parent")) == []


def test_an_end_seen_while_the_server_is_asked_beats_the_answer() -> None:
    graph = Graph(lambda uid: None)
    graph.observe(RESOURCE, meta("child", "parent"))
    graph.asking(Uid("parent"))
    graph.remove(Uid("parent"))
    graph.answered(Uid("parent"), Place(RESOURCE, "default", "parent"))
    assert graph.place_of(Uid("parent")) is None


def test_what_a_relist_does_not_show_is_gone() -> None:
    queued: list[str] = []
    graph = Graph(queued.append)
    graph.observe(RESOURCE, meta("child", "parent"))
    graph.asking(Uid("parent"))
    graph.answered(Uid("parent"), Place(RESOURCE, "default", "parent"))
    graph.retain(("", "configmaps"), {Uid("child"), Uid("parent")})
    assert not graph.absent(Uid("parent"))
    graph.retain(("", "configmaps"), {Uid("child")})
    assert graph.absent(Uid("parent"))
    assert queued == ["child", "child"]


def test_dependents_outlive_the_serving_of_their_owners_kind() -> None:
    graph = Graph(lambda uid: None)
    graph.observe(RESOURCE, meta("child", "parent"))
    graph.asking(Uid("parent"))
    graph.answered(Uid("parent"), Place(resource(Partial, group="g", version="v1", kind="X", plural="xs"), "", "p"))
    graph.withdraw(("g", "xs"))
    assert not graph.absent(Uid("parent"))
    assert set(graph.nodes) == {"child"}


async def test_a_watch_that_begins_anew_makes_good_what_was_missed(cluster: Any) -> None:
    queued: list[str] = []
    graph = Graph(queued.append)
    monitors = Monitors(cluster.context("gc"), graph, lambda: None)
    monitors.retain(RESOURCE, {Uid("child")})
    graph.observe(RESOURCE, meta("child", "parent"))
    monitors.retain(RESOURCE, set())
    assert not graph.nodes


async def test_dependents_go_after_their_owner(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    owner = await config(cluster, "owner")
    child = await config(cluster, "child", ref("ConfigMap", owner))
    await config(cluster, "grandchild", ref("ConfigMap", child))
    await sentinel(cluster)
    assert await owners_of(cluster, "grandchild") == ["child"]
    await cluster.delete(CONFIG_MAPS, "owner")
    await cluster.gone(CONFIG_MAPS, "grandchild")
    assert await cluster.get(CONFIG_MAPS, "child") is None


async def test_dependents_of_what_was_deleted_before_the_start_go(cluster: Any) -> None:
    owner = await config(cluster, "owner")
    await config(cluster, "child", ref("ConfigMap", owner))
    await cluster.delete(CONFIG_MAPS, "owner")
    # Another one of the same name is not the owner.
    await config(cluster, "owner")
    cluster.start(GarbageCollector)
    await cluster.gone(CONFIG_MAPS, "child")
    assert await cluster.get(CONFIG_MAPS, "owner") is not None


async def test_one_owner_left_keeps_the_dependent(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    first, second = await config(cluster, "first"), await config(cluster, "second")
    await config(cluster, "child", ref("ConfigMap", first), ref("ConfigMap", second))
    await cluster.delete(CONFIG_MAPS, "first")

    async def released() -> bool:
        return await owners_of(cluster, "child") == ["second"]

    await cluster.until(released, "the reference to the absent owner removed")


async def test_an_owner_in_another_namespace_is_absent(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    await cluster.create(NAMESPACES, {"metadata": {"name": "other"}})
    owner = await config(cluster, "owner", namespace="other")
    await config(cluster, "near", ref("ConfigMap", owner), namespace="other")
    await sentinel(cluster)
    await config(cluster, "far", ref("ConfigMap", owner))
    await cluster.gone(CONFIG_MAPS, "far")
    assert await owners_of(cluster, "near", "other") == ["owner"]

    async def warned() -> bool:
        return any(event.reason == "OwnerRefInvalidNamespace" for event in await cluster.list(EVENTS, "default"))

    await cluster.until(warned, "a warning about the reference")


async def test_cluster_scoped_objects_have_no_namespaced_owners(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    owner = await config(cluster, "owner")
    await cluster.create(CLUSTER_ROLES, {"metadata": {"name": "r", "ownerReferences": [ref("ConfigMap", owner)]}})
    await cluster.delete(CONFIG_MAPS, "owner")
    await sentinel(cluster)
    assert await cluster.get(CLUSTER_ROLES, "r") is not None


async def test_a_namespaced_object_may_have_a_cluster_scoped_owner(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    role = await cluster.create(CLUSTER_ROLES, {"metadata": {"name": "r"}})
    await config(cluster, "child", ref("ClusterRole", role, "rbac.authorization.k8s.io/v1"))
    await sentinel(cluster)
    assert await owners_of(cluster, "child") == ["r"]
    await cluster.delete(CLUSTER_ROLES, "r")
    await cluster.gone(CONFIG_MAPS, "child")


async def test_foreground_deletion_waits_for_the_blocking_dependents(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    await cluster.add_node("n1")
    owner = await config(cluster, "owner")
    await pod(cluster, "blocking", ref("ConfigMap", owner, blockOwnerDeletion=True))
    await cluster.bind("blocking", "n1")
    await config(cluster, "other", ref("ConfigMap", owner))
    await cluster.delete(CONFIG_MAPS, "owner", propagation="Foreground")
    await cluster.gone(CONFIG_MAPS, "other")

    async def terminating() -> bool:
        return bool((await cluster.get(PODS, "blocking"))["metadata"].get("deletionTimestamp"))

    await cluster.until(terminating, "the pod is being deleted")
    assert await cluster.get(CONFIG_MAPS, "owner") is not None
    await cluster.delete(PODS, "blocking", grace=0)
    await cluster.gone(CONFIG_MAPS, "owner")


async def test_foreground_deletion_spares_what_has_another_owner(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    first, second = await config(cluster, "first"), await config(cluster, "second")
    block = {"blockOwnerDeletion": True}
    await config(cluster, "child", ref("ConfigMap", first, **block), ref("ConfigMap", second, **block))
    await cluster.delete(CONFIG_MAPS, "first", propagation="Foreground")
    await cluster.gone(CONFIG_MAPS, "first")
    assert await owners_of(cluster, "child") == ["second"]


async def test_foreground_deletion_ends_in_a_circle_too(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    first = await config(cluster, "first")
    second = await config(cluster, "second", ref("ConfigMap", first, blockOwnerDeletion=True))
    owners = {"metadata": {"ownerReferences": [ref("ConfigMap", second, blockOwnerDeletion=True)]}}
    await cluster.patch(CONFIG_MAPS, "first", owners)
    await sentinel(cluster)
    await cluster.delete(CONFIG_MAPS, "first", propagation="Foreground")
    await cluster.gone(CONFIG_MAPS, "first")
    await cluster.gone(CONFIG_MAPS, "second")


async def test_orphans_lose_the_reference_and_stay(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    owner = await config(cluster, "owner")
    await config(cluster, "child", ref("ConfigMap", owner))
    await sentinel(cluster)
    await cluster.delete(CONFIG_MAPS, "owner", propagation="Orphan")
    await cluster.gone(CONFIG_MAPS, "owner")
    await sentinel(cluster)
    assert await owners_of(cluster, "child") == []


async def test_custom_resources_own_and_are_owned(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"plural": "ships", "singular": "ship", "kind": "Ship", "listKind": "ShipList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    spec = {"group": "sea.example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    await cluster.create(CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {"name": "ships.sea.example.com"}, "spec": spec})
    ships = resource(group="sea.example.com", version="v1", kind="Ship", plural="ships")

    async def established() -> bool:
        found = await cluster.get(CUSTOM_RESOURCE_DEFINITIONS, "ships.sea.example.com")
        conditions = found.get("status", {}).get("conditions", [])
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    await cluster.until(established, "the definition is established")
    api_version = {"apiVersion": "sea.example.com/v1", "kind": "Ship"}
    argo = await cluster.create(ships, {**api_version, "metadata": {"name": "argo"}})
    boat = {"name": "boat", "ownerReferences": [ref("Ship", argo, "sea.example.com/v1")]}
    await cluster.create(ships, {**api_version, "metadata": boat})
    await config(cluster, "log", ref("Ship", argo, "sea.example.com/v1"))
    await cluster.delete(ships, "argo")
    await cluster.gone(ships, "boat")
    await cluster.gone(CONFIG_MAPS, "log")


async def test_nothing_is_known_of_owners_whose_kind_is_not_served(cluster: Any) -> None:
    cluster.start(GarbageCollector)
    await config(cluster, "child", ref("Ghost", {"metadata": {"name": "g", "uid": "g"}}, "no.example.com/v1"))
    await sentinel(cluster)
    assert await owners_of(cluster, "child") == ["g"]
