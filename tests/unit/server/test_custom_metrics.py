"""Custom and external metrics of pods that the test makes talk."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiphys.api import quantity
from tiphys.server.custom_metrics import api as custom_metrics
from tiphys.server.custom_metrics.exposition import parse
from tiphys.server.custom_metrics.scrape import url_of

from .conftest import Api

CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default"
TEXT = """\
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code="200",path="/a\\"b",} 100 1395066363000
http_requests_total{code="500"} 7
# TYPE queue_length gauge
queue_length{ingress="main"} 12.5 # {trace="x"} 1
queue_length{ingress="other"} 2
# TYPE took histogram
took_bucket{le="+Inf"} 5
took_count 5
loose 3
broken{ 4
http_requests_total_other 9
"""


def test_the_format_is_read() -> None:
    found = list(parse(TEXT, {"http_requests_total", "queue_length", "took_count", "loose", "broken"}))
    assert [(each.name, dict(each.labels), each.value, each.counter) for each in found] == [
        ("http_requests_total", {"code": "200", "path": '/a"b'}, 100, True),
        ("http_requests_total", {"code": "500"}, 7, True),
        ("queue_length", {"ingress": "main"}, 12.5, False),
        ("queue_length", {"ingress": "other"}, 2, False),
        ("took_count", {}, 5, True),
        ("loose", {}, 3, False),
    ]


@pytest.mark.parametrize(
    ("annotations", "url"),
    [
        ({"scrape": "true"}, "http://10.0.0.1:8080/metrics"),
        ({"scrape": "true", "port": "9090", "path": "/m", "scheme": "https"}, "https://10.0.0.1:9090/m"),
        ({"scrape": "false"}, ""),
        ({}, ""),
    ],
)
def test_annotations_say_where(annotations: Any, url: str) -> None:
    meta = {"annotations": {f"prometheus.io/{name}": value for name, value in annotations.items()}}
    spec = {"containers": [{"name": "c", "ports": [{"containerPort": 8080}]}]}
    assert url_of({"metadata": meta, "spec": spec, "status": {"podIP": "10.0.0.1"}}) == url


class Pods:
    """By address what each of them says."""

    def __init__(self) -> None:
        self.says: dict[str, str | None] = {}
        self.asked = 0

    async def fetch(self, url: str) -> str | None:
        self.asked += 1
        return self.says.get(url.split("//")[1].split(":")[0])


@pytest.fixture
async def pods(api: Api) -> Pods:
    found = Pods()
    custom_metrics.install(api.assembled.server, found.fetch)
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    for index in (1, 2):
        meta = {"name": f"p{index}", "labels": {"app": "web"}, "annotations": {"prometheus.io/scrape": "true"}}
        spec = {"containers": [{"name": "app", "image": "i"}]}
        path = "/api/v1/namespaces/default/pods"
        await api.ok("POST", path, {"metadata": meta, "spec": spec})
        ip = f"10.0.0.{index}"
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                  "conditions": [{"type": "Ready", "status": "True"}]}  # fmt: skip
        merge = "application/merge-patch+json"
        await api.ok("PATCH", f"{path}/p{index}/status", {"status": status}, content_type=merge)
        found.says[ip] = f"queue {index}\n"
    return found


async def asked(api: Api, path: str, **query: str) -> Any:
    """(code, answer), however long it takes."""
    task = asyncio.ensure_future(api("GET", path, **query))
    while not task.done():
        await api.clock.advance(0.5)
    return await task


async def value(api: Api, path: str, **query: str) -> str:
    code, answer = await asked(api, path, **query)
    assert code == 200, answer
    (item,) = answer["items"]
    found: str = item["value"]
    return found


async def test_each_pod_has_its_value(api: Api, pods: Pods) -> None:
    _, answer = await asked(api, f"{CUSTOM}/pods/*/queue", labelSelector="app=web")
    assert [(item["describedObject"]["name"], item["value"]) for item in answer["items"]] == [("p1", "1"), ("p2", "2")]
    assert answer["items"][0]["metric"] == {"name": "queue"}
    assert await value(api, f"{CUSTOM}/pods/p2/queue") == "2"
    _, answer = await asked(api, f"{CUSTOM.replace('beta2', 'beta1')}/pods/*/queue")
    assert answer["items"][0]["metricName"] == "queue"
    code, _ = await asked(api, f"{CUSTOM}/pods/*/queue", labelSelector="app=other")
    assert code == 404


@pytest.mark.parametrize("name", ["http_requests_total", "http_requests", "http_requests_per_second"])
async def test_counters_are_rates(api: Api, pods: Pods, name: str) -> None:
    pods.says["10.0.0.1"] = pods.says["10.0.0.2"] = 'http_requests_total{code="200"} 100'
    await asked(api, f"{EXTERNAL}/{name}")
    pods.says["10.0.0.1"] = 'http_requests_total{code="200"} 200\nhttp_requests_total{code="500"} 20'
    pods.says["10.0.0.2"] = 'http_requests_total{code="200"} 50'
    await api.clock.advance(10)
    assert 16_000 < quantity.parse(await value(api, f"{EXTERNAL}/{name}")).milli() <= 17_000
    assert pods.asked == 6


async def test_series_are_selected_by_their_labels(api: Api, pods: Pods) -> None:
    pods.says["10.0.0.1"] = 'jobs{queue="mail"} 5\njobs{queue="print"} 9'
    assert await value(api, f"{EXTERNAL}/jobs", labelSelector="queue=mail") == "5"
    assert await value(api, f"{CUSTOM}/pods/*/jobs", metricLabelSelector="queue=print") == "9"


async def test_objects_are_named_by_labels_or_selected_by_services(api: Api, pods: Pods) -> None:
    pods.says["10.0.0.1"] = 'hits{ingress="main"} 5\nhits{ingress="other"} 9'
    assert await value(api, f"{CUSTOM}/ingresses.networking.k8s.io/main/hits") == "5"
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    await api.ok("POST", "/api/v1/namespaces/default/services", service)
    assert await value(api, f"{CUSTOM}/services/web/queue") == "2"
    assert await value(api, f"{CUSTOM}/metrics/queue") == "2"


@pytest.mark.parametrize("says", [None, "queue NaN", "queue +Inf"])
async def test_a_sum_of_which_a_part_is_not_known_is_none(api: Api, pods: Pods, says: str | None) -> None:
    assert await value(api, f"{EXTERNAL}/queue") == "3"
    pods.says["10.0.0.2"] = says
    await api.clock.advance(5)
    assert (await asked(api, f"{EXTERNAL}/queue"))[0] == 503
    _, answer = await asked(api, f"{CUSTOM}/pods/*/queue")
    assert [item["describedObject"]["name"] for item in answer["items"]] == ["p1"]


async def test_who_asks_at_once_shares_a_scrape(api: Api, pods: Pods) -> None:
    await asyncio.gather(*(api.ok("GET", f"{EXTERNAL}/queue") for _ in range(10)))
    assert pods.asked == 2


async def test_an_apiservice_of_the_group_is_asked_instead(api: Api, pods: Pods) -> None:
    service = {"namespace": "monitoring", "name": "adapter"}
    spec = {"group": "custom.metrics.k8s.io", "version": "v1beta1", "service": service,
            "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": True}  # fmt: skip
    meta = {"name": "v1beta1.custom.metrics.k8s.io"}
    await api.ok("POST", "/apis/apiregistration.k8s.io/v1/apiservices", {"metadata": meta, "spec": spec})
    assert (await api("GET", f"{CUSTOM}/pods/*/queue"))[0] == 404
    assert (await api("GET", f"{CUSTOM.replace('beta2', 'beta1')}/pods/*/queue"))[0] == 503
    assert await value(api, f"{EXTERNAL}/queue") == "3"


async def test_the_groups_are_discovered(api: Api, pods: Pods) -> None:
    groups = {each["name"]: each for each in (await api.ok("GET", "/apis"))["groups"]}
    assert [each["version"] for each in groups["custom.metrics.k8s.io"]["versions"]] == ["v1beta1", "v1beta2"]
    listed = (await api.ok("GET", "/apis/custom.metrics.k8s.io/v1beta2"))["resources"]
    assert [each["name"] for each in listed] == ["pods/*", "services/*"]
    assert (await api.ok("GET", "/apis/external.metrics.k8s.io/v1beta1"))["resources"]
