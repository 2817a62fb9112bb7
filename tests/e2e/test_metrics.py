"""What Prometheus scrapes, as it scrapes it: with the token of a ServiceAccount and the cluster's CA; other pages."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from collections.abc import Iterator
from urllib.error import HTTPError

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from real_cluster import IMAGE, RealCluster, until

pytestmark = pytest.mark.root
_ROLE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scraper}
rules:
  - {apiGroups: [""], resources: [nodes/metrics], verbs: [get]}
  - {nonResourceURLs: [/metrics], verbs: [get]}
"""
_PROBED = f"""
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: probed}}
spec:
  selector: {{matchLabels: {{app: probed}}}}
  template:
    metadata: {{labels: {{app: probed}}}}
    spec:
      containers: [{{name: app, image: "{IMAGE}", readinessProbe: {{httpGet: {{port: 80}}}}}}]
"""


class Scraper:
    def __init__(self, cluster: RealCluster, space: str) -> None:
        config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))["clusters"][0]["cluster"]
        self._tls = ssl.create_default_context(cadata=base64.b64decode(config["certificate-authority-data"]).decode())
        self._token = cluster.kubectl("create", "token", "-n", space, "default").strip()
        self.server: str = config["server"]
        self.kubelets = []
        for node in cluster.get("nodes")["items"]:
            address = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
            port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
            self.kubelets.append(f"https://{address}:{port}")

    def get(self, url: str) -> dict[str, Metric]:
        """The families by name. Raises HTTPError."""
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._token}"})
        with urllib.request.urlopen(request, context=self._tls, timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


@pytest.fixture
def scraper(nodes: RealCluster, space: str) -> Iterator[Scraper]:
    nodes.kubectl("apply", "-f", "-", stdin=_ROLE)
    account = f"--serviceaccount={space}:default"
    nodes.kubectl("create", "clusterrolebinding", "scraper", "--clusterrole=scraper", account)
    yield Scraper(nodes, space)
    nodes.kubectl("delete", "clusterrolebinding,clusterrole", "scraper")


def test_the_api_server_is_scraped(scraper: Scraper) -> None:
    found = scraper.get(f"{scraper.server}/metrics")
    assert found["apiserver_request"].samples
    assert found["scheduler_pending_pods"].samples
    assert found["process_resident_memory_bytes"].samples[0].value > 1e7


def test_every_kubelet_is_scraped_and_asks_who_does_it(nodes: RealCluster, scraper: Scraper, space: str) -> None:
    assert len(scraper.kubelets) == 2
    nodes.kubectl("apply", "-n", space, "-f", "-", stdin=_PROBED)
    nodes.kubectl("rollout", "status", "-n", space, "daemonset/probed", "--timeout=60s")

    def values(url: str, name: str) -> list[float]:
        found = [metric for family in scraper.get(url).values() for metric in family.samples]
        return [sample.value for sample in found if sample.name == name and sample.labels.get("namespace") == space]

    for url in scraper.kubelets:
        assert scraper.get(f"{url}/metrics")["kubelet_node_name"].samples[0].value == 1
        for page, name in (
            ("probes", "prober_probe_total"), ("resource", "container_memory_working_set_bytes"),
            ("resource", "container_start_time_seconds"), ("resource", "pod_memory_working_set_bytes"),
            ("cadvisor", "container_memory_rss"), ("cadvisor", "container_cpu_usage_seconds_total"),
        ):  # fmt: skip
            until(lambda at=f"{url}/metrics/{page}", name=name: any(values(at, name)), f"{name} of {url}")
        with pytest.raises(HTTPError, match="403"):
            scraper.get(f"{url}/stats/summary")
    scraper._token = "nonsense"
    for url in scraper.kubelets:
        with pytest.raises(HTTPError, match="401"):
            scraper.get(f"{url}/metrics")


def test_a_node_shows_its_configuration_and_the_logs_of_its_machine(nodes: RealCluster, scraper: Scraper) -> None:
    for node in nodes.get("nodes")["items"]:
        name, port = node["metadata"]["name"], node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        for place in (f"/api/v1/nodes/{name}/proxy", f"/api/v1/nodes/https:{name}:{port}/proxy"):
            found = json.loads(nodes.kubectl("get", "--raw", f"{place}/configz"))["kubeletconfig"]
            assert (found["maxPods"], found["port"]) == (110, port)
            assert "<pre>" in nodes.kubectl("get", "--raw", f"{place}/logs/")
            assert nodes.kubectl("get", "--raw", f"{place}/healthz/ping") == "ok"
    for url in scraper.kubelets:
        with pytest.raises(HTTPError, match="403"):
            scraper.get(f"{url}/logs/")
