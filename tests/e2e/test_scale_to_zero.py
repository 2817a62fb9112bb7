"""A Service whose pods go to zero when nobody uses it: whoever connects then is served, and nobody is refused."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from real_cluster import RealCluster, started, until
from test_kubectl import web

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with started("zero", image=tmp_path_factory.mktemp("image")) as made:
        made.kubectl("apply", "-f", "-", stdin=web("web", 2))
        made.kubectl("expose", "deployment", "web", "--port=80", "--type=NodePort")
        made.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        yield made


def replicas(cluster: RealCluster) -> int:
    found: int = cluster.get("deployment", "web")["spec"]["replicas"]
    return found


def ask(address: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}/", timeout=30) as answer:
        body: bytes = answer.read()
        return body


def test_it_sleeps_when_nobody_comes_and_wakes_for_whoever_does(cluster: RealCluster) -> None:
    address = cluster.get("service", "web")["spec"]["clusterIP"]
    assert ask(address)
    cluster.kubectl("annotate", "service", "web", "tiphys.dev/scale-to-zero-after=2s")
    until(lambda: replicas(cluster) == 0, "asleep", 60)
    until(lambda: not cluster.get("pods", "-l", "app=web")["items"], "no pods", 60)
    assert "ScaledToZero" in cluster.kubectl("get", "events")
    answers: list[bytes] = []
    clients = [threading.Thread(target=lambda: answers.append(ask(address))) for _ in range(10)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(answers) == 10
    assert all(answers)
    assert replicas(cluster) == 2
    assert "Woken" in cluster.kubectl("get", "events")


def test_a_node_port_wakes_it_too(cluster: RealCluster) -> None:
    until(lambda: replicas(cluster) == 0, "asleep", 90)
    until(lambda: not cluster.get("pods", "-l", "app=web")["items"], "no pods", 60)
    service = cluster.get("service", "web")
    node = cluster.get("nodes")["items"][0]["status"]["addresses"][0]["address"]
    assert ask(f"{node}:{service['spec']['ports'][0]['nodePort']}")


def test_use_keeps_it_awake(cluster: RealCluster) -> None:
    address = cluster.get("service", "web")["spec"]["clusterIP"]
    assert ask(address)
    end = time.monotonic() + 15
    while time.monotonic() < end:
        assert ask(address)
        assert replicas(cluster) > 0


def test_without_the_annotation_it_stays_as_it_is(cluster: RealCluster) -> None:
    address = cluster.get("service", "web")["spec"]["clusterIP"]
    assert ask(address)
    cluster.kubectl("annotate", "service", "web", "tiphys.dev/scale-to-zero-after-")
    cluster.kubectl("scale", "deployment/web", "--replicas=0")
    until(lambda: not cluster.get("pods", "-l", "app=web")["items"], "no pods", 60)
    until(lambda: _refused(address), "refused", 30)


def _refused(address: str) -> bool:
    try:
        ask(address)
    except OSError:
        return True
    return False
