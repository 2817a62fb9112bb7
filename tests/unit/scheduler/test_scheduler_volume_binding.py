"""Pods with claims go where their volumes are or can be made, and are bound once those are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from scheduled import Scheduled, scheduling
from volume_objects import Storage, using

from tiphys.scheduler.pipeline import DEFAULT
from tiphys.scheduler.plugins.volume_binding import VolumeBinding
from tiphys.scheduler.profile import Profile


@pytest.fixture
async def scheduled() -> AsyncIterator[Scheduled]:
    async with scheduling() as made:
        yield made


@pytest.fixture
async def storage(scheduled: Scheduled) -> Storage:
    made = Storage(scheduled)
    await made.node("a")
    await made.node("b")
    return made


async def test_a_claim_that_is_missing_is_waited_for(scheduled: Scheduled, storage: Storage) -> None:
    await scheduled.pod("p", **using("c"))
    await scheduled.refused("p", '0/2 nodes are available: persistentvolumeclaim "c" not found.')
    await storage.add_class()
    await storage.claim()
    await scheduled.clock.advance(60)
    assert await storage.asked() in ("a", "b")


async def test_an_immediate_claim_is_bound_first(scheduled: Scheduled, storage: Storage) -> None:
    await storage.add_class(volumeBindingMode="Immediate")
    await storage.claim()
    await scheduled.pod("p", **using("c"))
    await scheduled.refused("p", "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.")
    await storage.volume("v", node="b")
    await storage.bind("v")
    await scheduled.clock.advance(60)
    assert await scheduled.bound("p") == "b"


async def test_the_pod_is_bound_once_its_volume_is_made_on_its_node(scheduled: Scheduled, storage: Storage) -> None:
    await storage.add_class()
    await storage.claim()
    await scheduled.pod("p", **using("c"))
    node = await storage.asked()
    assert (await scheduled.get("p")).spec.node_name == ""
    await storage.volume("made", node=node)
    await storage.bind("made")
    assert await scheduled.bound("p") == node


async def test_pods_that_wait_for_volumes_hold_up_no_others(scheduled: Scheduled, storage: Storage) -> None:
    scheduled_slots = 256
    await storage.add_class()
    await storage.node("big", pods="1000", cpu="1000")
    for number in range(scheduled_slots + 1):
        await storage.claim(f"c{number}")
        await scheduled.pod(f"p{number}", **using(f"c{number}"))
    await storage.asked(f"c{scheduled_slots}")
    await scheduled.pod("plain")
    assert await scheduled.bound("plain")


async def test_pods_that_share_a_claim_go_to_one_node(scheduled: Scheduled, storage: Storage) -> None:
    await storage.add_class()
    await storage.claim()
    for number in range(4):
        await scheduled.pod(f"p{number}", **using("c"))
    node = await storage.asked()
    await storage.volume("made", node=node)
    await storage.bind("made")
    assert [await scheduled.bound(f"p{number}") for number in range(4)] == [node] * 4


async def test_a_provisioner_that_gives_up_has_the_pod_placed_anew(scheduled: Scheduled, storage: Storage) -> None:
    await storage.add_class()
    await storage.claim()
    await scheduled.pod("p", **using("c"))
    await storage.asked()
    await storage.unselect()
    await scheduled.clock.advance(60)
    node = await storage.asked()
    await storage.volume("made", node=node)
    await storage.bind("made")
    assert await scheduled.bound("p") == node


async def test_claims_get_volumes_that_are_there_before_any_is_made(scheduled: Scheduled, storage: Storage) -> None:
    await storage.add_class(provisioner="kubernetes.io/no-provisioner")
    await storage.claim("small")
    await storage.claim("large", "2Gi")
    await storage.volume("on-a", "2Gi", node="a")
    for name, size in (("first", "1Gi"), ("second", "2Gi")):
        await storage.volume(name, size, node="b")
    await scheduled.pod("p", **using("large", "small"))
    assert await storage.reserved("first") == "small"
    assert await storage.reserved("second") == "large"
    await storage.bind("first", "small")
    await storage.bind("second", "large")
    assert await scheduled.bound("p") == "b"


async def test_one_volume_is_given_to_one_pod(scheduled: Scheduled, storage: Storage) -> None:
    await storage.add_class(provisioner="kubernetes.io/no-provisioner")
    await storage.volume("only", node="a")
    for name in ("c", "d"):
        await storage.claim(name)
    await scheduled.pod("p", **using("c"))
    assert await storage.reserved("only") == "c"
    await scheduled.pod("q", **using("d"))
    words = "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
    await scheduled.refused("q", words)
    # What is given back may be had by others.
    await storage.volume("another", node="b")
    await scheduled.clock.advance(60)
    assert await storage.reserved("another") == "d"


async def test_a_pod_stays_where_its_volume_is(scheduled: Scheduled, storage: Storage) -> None:
    await storage.add_class()
    await storage.claim()
    await storage.volume("v", node="gone")
    await storage.bind("v")
    await scheduled.pod("p", **using("c"))
    words = "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity."
    await scheduled.refused("p", words)
    await storage.node("gone")
    await scheduled.clock.advance(60)
    assert await scheduled.bound("p") == "gone"


async def test_a_class_may_be_confined_to_a_part_of_the_nodes(scheduled: Scheduled, storage: Storage) -> None:
    zone = {"key": "topology.kubernetes.io/zone", "values": ["z"]}
    await storage.add_class(allowedTopologies=[{"matchLabelExpressions": [zone]}])
    await storage.claim()
    await scheduled.pod("p", **using("c"))
    words = "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind."
    await scheduled.refused("p", words)
    await storage.node("there", labels={"topology.kubernetes.io/zone": "z"})
    await scheduled.clock.advance(60)
    assert await storage.asked() == "there"


async def test_a_pod_that_is_deleted_while_it_waits_gives_back_what_it_held(
    scheduled: Scheduled, storage: Storage
) -> None:
    await storage.add_class(provisioner="kubernetes.io/no-provisioner")
    await storage.volume("only", node="a")
    await storage.claim()
    await scheduled.pod("p", **using("c"))
    await storage.reserved("only")
    await scheduled.delete("p")
    await scheduled.pod("q", **using("c"))
    await storage.bind("only")
    assert await scheduled.bound("q") == "a"


async def test_a_volume_that_is_never_made_ends_the_wait() -> None:
    binding = VolumeBinding()
    binding.configure({"bindTimeoutSeconds": 0})
    plugins = tuple(binding if isinstance(each, VolumeBinding) else each for each in DEFAULT)
    async with scheduling(Profile(plugins=plugins)) as scheduled:
        storage = Storage(scheduled)
        await storage.node("a")
        await storage.add_class()
        await storage.claim()
        await scheduled.pod("p", **using("c"))
        await storage.asked()
        await scheduled.clock.advance(60)
        await storage.volume("made", node="a")
        await storage.bind("made")
        await scheduled.clock.advance(60)
        assert await scheduled.bound("p") == "a"
