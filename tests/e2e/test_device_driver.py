"""Pods with devices on the real containerd: a driver makes them ready, and takes them back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from device_driver import NAME, Driver, listening
from kubelet_fixture import Cluster, cluster, ended, one, running

from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.resource.resourceclaim import RESOURCE_CLAIMS

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
SPEC = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}
LOOK = 'echo "$GPU $(cat /etc/gpu) $(head -c 2 /dev/gpu0 | od -An -tx1)" > /dev/termination-log'


async def pod(kube: Cluster, name: str, script: str, claim: str = "mine") -> None:
    """A pod on the node whose claim is allocated and reserved for it, as the scheduler would have done."""
    spec = one(script, resources={"claims": [{"name": "gpu"}]})
    await kube.create(name, {**spec, "resourceClaims": [{"name": "gpu", "resourceClaimName": claim}]})
    await allocate(kube, name, claim)


async def allocate(kube: Cluster, name: str, claim: str) -> None:
    made = await kube.client.of(PODS).get(name, "default")
    claims = kube.client.of(RESOURCE_CLAIMS)
    found = await claims.create({"metadata": {"name": claim, "namespace": "default"}, "spec": SPEC})
    result = {"request": "r", "driver": NAME, "pool": "n1", "device": "gpu0"}
    user = {"resource": "pods", "name": name, "uid": made.metadata.uid}
    status = {"allocation": {"devices": {"results": [result]}}, "reservedFor": [user]}
    await claims.patch(found.metadata, {"status": status}, subresource="status")


async def told(kube: Cluster, name: str, text: str) -> None:
    async with asyncio.timeout(20):
        while True:
            events, _ = await kube.client.of(EVENTS).list("default")
            mine = [event for event in events if event.involved_object.name == name]
            if any(event.reason == "FailedPrepareDynamicResources" and text in event.message for event in mine):
                return
            await asyncio.sleep(0.05)


async def until(check: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(20):
        while not check():
            await asyncio.sleep(0.02)


async def test_a_pod_waits_for_its_driver_and_gets_its_device(tmp_path: Path) -> None:
    async with cluster(tmp_path, cdi=[tmp_path / "cdi"]) as kube:
        driver = Driver(tmp_path / "cdi")
        await pod(kube, "p", LOOK)
        words = f"Failed to prepare dynamic resources: prepare dynamic resources: DRA driver {NAME} is not registered"
        await told(kube, "p", words)
        async with listening(driver, tmp_path / "kubelet" / "plugins_registry"):
            found = await kube.until("p", ended)
            assert driver.told[0].plugin_registered
            message = found["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
            assert message.split() == ["mine", Path("/etc/hostname").read_text().strip(), "00", "00"]
            await until(lambda: driver.unprepared, "taken back")
        assert driver.prepared == driver.unprepared == ["mine"]


async def test_a_driver_that_fails_is_asked_again(tmp_path: Path) -> None:
    async with cluster(tmp_path, cdi=[tmp_path / "cdi"]) as kube:
        driver = Driver(tmp_path / "cdi", version="v1beta1")
        driver.problem = "out of order"
        async with listening(driver, tmp_path / "kubelet" / "plugins_registry"):
            await pod(kube, "p", LOOK)
            await told(kube, "p", "NodePrepareResources failed for ResourceClaim mine: out of order")
            driver.problem = ""
            await kube.until("p", ended)


async def test_an_extended_resource_comes_from_a_claim(tmp_path: Path) -> None:
    async with cluster(tmp_path, cdi=[tmp_path / "cdi"]) as kube:
        driver = Driver(tmp_path / "cdi")
        async with listening(driver, tmp_path / "kubelet" / "plugins_registry"):
            await until(lambda: kube.kubelet.driver(NAME), "registered")
            spec = one(LOOK, resources={"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}})
            # In the order of the scheduler: the claim, its allocation, the pod's status, the binding.
            await kube.create("p", {**spec, "nodeName": None})
            await allocate(kube, "p", "mine")
            made = await kube.client.of(PODS).get("p", "default")
            mapping = {"containerName": "main", "resourceName": "example.com/gpu", "requestName": "r"}
            extended = {"resourceClaimName": "mine", "requestMappings": [mapping]}
            status = {"extendedResourceClaimStatus": extended}
            await kube.client.of(PODS).patch(made.metadata, {"status": status}, subresource="status")
            meta = {"name": "p", "namespace": "default"}
            binding = {"metadata": meta, "target": {"kind": "Node", "name": "n1"}}
            await kube.client.of(PODS).create_json(binding, subresource="binding")
            found = await kube.until("p", ended)
            message = found["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
            assert message.split()[0] == "mine"
            await until(lambda: driver.unprepared, "taken back")


async def test_the_next_kubelet_knows_what_to_take_back(tmp_path: Path) -> None:
    async with cluster(tmp_path, cdi=[tmp_path / "cdi"]) as kube:
        driver = Driver(tmp_path / "cdi")
        async with listening(driver, tmp_path / "kubelet" / "plugins_registry"):
            await pod(kube, "p", "exec sleep 1000")
            await kube.until("p", running)
            await kube.restart()
            await kube.client.of(PODS).delete((await kube.client.of(PODS).get("p", "default")).metadata)
            await kube.gone("p")
        assert driver.prepared == driver.unprepared == ["mine"]


async def test_a_pod_stays_until_its_devices_are_taken_back(tmp_path: Path) -> None:
    async with cluster(tmp_path, cdi=[tmp_path / "cdi"]) as kube:
        driver = Driver(tmp_path / "cdi")
        async with listening(driver, tmp_path / "kubelet" / "plugins_registry"):
            await pod(kube, "p", "exec sleep 1000")
            await kube.until("p", running)
        await until(lambda: kube.kubelet.driver(NAME) is None, "the driver is gone")
        await kube.client.of(PODS).delete((await kube.client.of(PODS).get("p", "default")).metadata)
        await kube.until("p", lambda found: "running" not in found["status"]["containerStatuses"][0]["state"])
        assert driver.unprepared == []
        async with listening(driver, tmp_path / "kubelet" / "plugins_registry", "again.sock"):
            await kube.gone("p")
        assert driver.unprepared == ["mine"]


async def test_other_plugins_are_told_that_they_are_not_supported(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        driver = Driver(tmp_path / "cdi", kind="DevicePlugin")
        async with listening(driver, tmp_path / "kubelet" / "plugins_registry"):
            await until(lambda: driver.told, "told")
        assert "not supported" in driver.told[0].error
        assert kube.kubelet.driver(NAME) is None
