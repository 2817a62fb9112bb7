"""What stands behind Services: EndpointSlices, Endpoints, and the mirror between them."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.controllers import slices
from tiphys.controllers.endpoints import EndpointsController
from tiphys.controllers.endpointslice import EndpointSliceController
from tiphys.controllers.endpointslicemirroring import EndpointSliceMirroringController
from tiphys.kinds.core.endpoints import ENDPOINTS
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.service import SERVICES
from tiphys.kinds.discovery.endpointslice import ENDPOINT_SLICES, Endpoint, EndpointSlice, SlicePort

SERVICE = "kubernetes.io/service-name"


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    return {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}


async def add_pod(cluster: Any, name: str, ip: str, **spec: Any) -> None:
    ports = [{"name": "web", "containerPort": 8080}]
    containers = [{"name": "c", "image": "i", "ports": ports}]
    body = {"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": containers, **spec}}
    await cluster.create(PODS, body)
    await cluster.bind(name, "n1")
    await cluster.make_ready(name, ip=ip)


async def slices_of(cluster: Any) -> list[EndpointSlice]:
    found: list[EndpointSlice] = await cluster.list(ENDPOINT_SLICES, "default", labelSelector=f"{SERVICE}=web")
    return found


async def shown(cluster: Any, **expected: tuple[bool | None, bool | None]) -> list[EndpointSlice]:
    """Wait until the slices hold exactly these pods, each with its conditions (ready, terminating)."""

    async def check() -> Any:
        found = await slices_of(cluster)
        held = {
            e.target_ref.name: (e.conditions.ready, e.conditions.terminating)
            for each in found for e in each.endpoints if e.target_ref
        }  # fmt: skip
        return found if held == expected and found else None

    found: list[EndpointSlice] = await cluster.until(check, f"slices with {expected}")
    return found


@pytest.fixture
async def web(cluster: Any) -> Any:
    cluster.start(EndpointSliceController)
    cluster.start(EndpointsController)
    await cluster.add_node("n1", metadata={"labels": {"topology.kubernetes.io/zone": "z1"}})
    return cluster


async def test_ready_pods_appear_with_all_that_is_known(web: Any) -> None:
    await web.create(SERVICES, service())
    (empty,) = await shown(web)
    assert empty.address_type == "IPv4"
    await add_pod(web, "a", "10.0.0.1")
    (one,) = await shown(web, a=(True, False))
    assert one.metadata.uid == empty.metadata.uid
    assert one.metadata.labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert [(port.name, port.port) for port in one.ports] == [("http", 8080)]
    (endpoint,) = one.endpoints
    assert (endpoint.addresses, endpoint.node_name, endpoint.zone) == (["10.0.0.1"], "n1", "z1")


async def test_not_ready_and_terminating_pods_stay_but_are_marked(web: Any) -> None:
    await web.create(SERVICES, service())
    await add_pod(web, "a", "10.0.0.1")
    await add_pod(web, "b", "10.0.0.2")
    await shown(web, a=(True, False), b=(True, False))
    await web.make_ready("a", ready=False)
    await shown(web, a=(False, False), b=(True, False))
    await web.delete(PODS, "b")
    (one,) = await shown(web, a=(False, False), b=(False, True))
    assert {e.target_ref.name: e.conditions.serving for e in one.endpoints if e.target_ref} == {"a": False, "b": True}
    await web.delete(PODS, "b", grace=0)
    await shown(web, a=(False, False))


async def test_publish_not_ready_and_hostnames_of_headless_services(web: Any) -> None:
    await web.create(SERVICES, service(clusterIP="None", publishNotReadyAddresses=True))
    await add_pod(web, "a", "10.0.0.1", hostname="a-0", subdomain="web")
    await web.make_ready("a", ready=False)
    (one,) = await shown(web, a=(True, False))
    assert one.metadata.labels["service.kubernetes.io/headless"] == ""
    assert one.endpoints[0].hostname == "a-0"


async def test_a_changed_port_rewrites_the_same_slice(web: Any) -> None:
    await web.create(SERVICES, service())
    await add_pod(web, "a", "10.0.0.1")
    (before,) = await shown(web, a=(True, False))
    await web.patch(SERVICES, "web", [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 9}], kind="json")

    async def rewritten() -> Any:
        found = await slices_of(web)
        return [(each.metadata.uid, each.ports[0].port) for each in found] == [(before.metadata.uid, 9)]

    await web.until(rewritten)


async def test_a_nodes_zone_reaches_its_endpoints(web: Any) -> None:
    await web.create(SERVICES, service())
    await add_pod(web, "a", "10.0.0.1")
    await shown(web, a=(True, False))
    await web.patch(NODES, "n1", {"metadata": {"labels": {"topology.kubernetes.io/zone": "z2"}}})

    async def moved() -> Any:
        return [e.zone for each in await slices_of(web) for e in each.endpoints] == ["z2"]

    await web.until(moved)


async def test_endpoints_object(web: Any) -> None:
    await web.create(SERVICES, service())
    await add_pod(web, "a", "10.0.0.1")
    await add_pod(web, "b", "10.0.0.2")
    await web.make_ready("b", ready=False, ip="10.0.0.2")

    async def both() -> Any:
        found = await web.get(ENDPOINTS, "web")
        subsets = found["subsets"] if found else []
        return subsets[0] if subsets and subsets[0].get("addresses") and subsets[0].get("notReadyAddresses") else None

    subset = await web.until(both)
    assert [address["ip"] for address in subset["addresses"]] == ["10.0.0.1"]
    assert [address["ip"] for address in subset["notReadyAddresses"]] == ["10.0.0.2"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    await web.delete(SERVICES, "web")
    await web.gone(ENDPOINTS, "web")

    async def none() -> bool:
        return not await slices_of(web)

    await web.until(none)


async def test_own_endpoints_are_mirrored(cluster: Any) -> None:
    cluster.start(EndpointSliceMirroringController)
    await cluster.create(SERVICES, {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
    ports = [{"port": 5432}]
    own = {
        "metadata": {"name": "web"},
        "subsets": [{"addresses": [{"ip": "10.9.0.1"}, {"ip": "fd00::1"}], "ports": ports}],
    }
    await cluster.create(ENDPOINTS, own)

    async def two() -> Any:
        found = await slices_of(cluster)
        return {each.address_type: each.endpoints[0].addresses for each in found} == {
            "IPv4": ["10.9.0.1"], "IPv6": ["fd00::1"],
        }  # fmt: skip

    await cluster.until(two)
    await cluster.patch(ENDPOINTS, "web", {"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}})

    async def none() -> bool:
        return not await slices_of(cluster)

    await cluster.until(none)


class TestSlices:
    PORTS = (SlicePort("http", 80),)

    def endpoints(self, first: int, count: int) -> list[Endpoint]:
        return [Endpoint(addresses=[f"10.0.{number // 256}.{number % 256}"]) for number in range(first, first + count)]

    def slice_of(self, endpoints: list[Endpoint]) -> EndpointSlice:
        return EndpointSlice(address_type="IPv4", endpoints=endpoints, ports=list(self.PORTS))

    def plan(self, existing: list[EndpointSlice], wanted: list[Endpoint]) -> slices.SlicePlan:
        return slices.plan(existing, [(("IPv4", self.PORTS), wanted)], {})

    def test_at_most_a_hundred_in_each(self) -> None:
        assert [len(held) for _, held in self.plan([], self.endpoints(0, 250)).create] == [100, 100, 50]

    def test_one_more_costs_one_write(self) -> None:
        full, half = self.slice_of(self.endpoints(0, 100)), self.slice_of(self.endpoints(100, 50))
        planned = self.plan([full, half], self.endpoints(0, 151))
        assert [(each is half, len(held)) for each, _, held in planned.update] == [(True, 51)]
        assert not planned.create
        assert not planned.delete

    def test_nothing_changed_nothing_written(self) -> None:
        planned = self.plan([self.slice_of(self.endpoints(0, 3))], self.endpoints(0, 3))
        assert planned == slices.SlicePlan()

    def test_an_emptied_slice_goes_but_the_last_stays(self) -> None:
        one, two = self.slice_of(self.endpoints(0, 2)), self.slice_of(self.endpoints(2, 2))
        assert self.plan([one, two], self.endpoints(0, 2)).delete == [two]
        assert [held for _, _, held in self.plan([one], []).update] == [[]]
