"""metrics.k8s.io over kubelets that the test makes up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiphys.api.errors import ServiceUnavailable
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339_micro
from tiphys.server import metrics_api

from .conftest import Api

PODS = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"


class Kubelet:
    """Its pod `web` uses `cores` all the time."""

    def __init__(self, api: Api) -> None:
        self._api, self.asked, self.cores, self.away = api, 0, 0.25, False

    async def summary(self, node: str) -> Json:
        if self.away:
            raise ServiceUnavailable("away")
        self.asked += 1
        now = self._api.clock.time()
        cpu = {"time": rfc3339_micro(now), "usageCoreNanoSeconds": int((now - 1_600_000_000) * self.cores * 1e9)}
        use = {"cpu": cpu, "memory": {"workingSetBytes": 8 << 20}}
        pod = {"podRef": {"name": "web", "namespace": "default", "uid": "u"}, "containers": [{"name": "app", **use}]}
        return {"node": {"nodeName": node, **use}, "pods": [pod]}


@pytest.fixture
async def kubelet(api: Api) -> Kubelet:
    found = Kubelet(api)
    metrics_api.install(api.assembled.server, found.summary)
    container = {"name": "app", "image": "i"}
    spec = {"nodeName": "n", "containers": [container]}
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    await api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    await api.ok("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "web"}, "spec": spec})
    return found


async def asked(api: Api, path: str = PODS) -> Any:
    """The answer's items, however long they take."""
    task = asyncio.ensure_future(api.ok("GET", path))
    while not task.done():
        await api.clock.advance(0.5)
    return (await task)["items"]


async def test_the_first_answer_takes_two_readings(api: Api, kubelet: Kubelet) -> None:
    items = await asked(api)
    assert items[0]["containers"] == [{"name": "app", "usage": {"cpu": "250000000n", "memory": "8192Ki"}}]
    assert items[0]["window"] == "1.000s"
    assert kubelet.asked == 2
    await api.clock.advance(5)
    assert (await asked(api))[0]["window"][0] in "56"
    assert kubelet.asked == 3


async def test_all_who_ask_at_once_share_a_reading(api: Api, kubelet: Kubelet) -> None:
    tasks = [asyncio.ensure_future(api.ok("GET", PODS)) for _ in range(20)]
    await asked(api)
    answers = await asyncio.gather(*tasks)
    assert all(answer["items"] for answer in answers)
    assert kubelet.asked == 2


async def test_the_last_minute_counts_and_no_longer(api: Api, kubelet: Kubelet) -> None:
    await asked(api)
    await api.clock.advance(300)
    assert (await asked(api))[0]["window"] == "1.000s"


async def test_a_node_that_does_not_answer_is_left_out(api: Api, kubelet: Kubelet) -> None:
    await asked(api)
    kubelet.away = True
    await api.clock.advance(5)
    assert await asked(api) == []
    assert await asked(api, "/apis/metrics.k8s.io/v1beta1/nodes") == []
