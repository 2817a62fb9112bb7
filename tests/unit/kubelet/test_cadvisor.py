"""/metrics/cadvisor and /metrics/resource under the names that dashboards and metrics-server know."""

from __future__ import annotations

from tiphys.kubelet.runtime import ContainerUsage
from tiphys.kubelet.server import cadvisor, stats
from tiphys.kubelet.server.stats import NodeUsage
from tiphys.kubelet.usage import PodUsage
from tiphys.node.cgroups import Usage


def test_every_container_and_pod_has_its_series() -> None:
    container = ContainerUsage("c1", "u", "web", "shop", "app", 2.0, 1_500_000_000, 100, 200, 50, 10, 3)
    pod = PodUsage("shop", "web", "u", 1.0, Usage(2_000_000_000, 300, 150, 60), [container])
    lines = cadvisor.metrics(cadvisor.Machine(2, 4096), NodeUsage(2.0, 0, 0, 0), [pod]).splitlines()
    own = 'container="app",id="/kubepods/podu/c1",image="",name="c1",namespace="shop",pod="web"'
    whole = 'container="",id="/kubepods/podu",image="",name="",namespace="shop",pod="web"'
    assert f"container_cpu_usage_seconds_total{{{own}}} 1.5 2000" in lines
    assert f"container_cpu_usage_seconds_total{{{whole}}} 2 2000" in lines
    assert f"container_memory_working_set_bytes{{{own}}} 100 2000" in lines
    assert f"container_memory_rss{{{whole}}} 60 2000" in lines
    assert f"container_start_time_seconds{{{whole}}} 1 2000" in lines
    assert "machine_cpu_cores 2" in lines
    # What is not counted has no series.
    assert not any(line.startswith("container_fs_usage_bytes{" + whole) for line in lines)


def test_resource_metrics_are_all_that_metrics_server_reads() -> None:
    container = ContainerUsage("c1", "u", "web", "shop", "app", 2.0, 1_500_000_000, 100, 200, 50, started=1.5)
    unknown = ContainerUsage("c2", "u", "web", "shop", "new", 2.0, 0, 0)
    pod = PodUsage("shop", "web", "u", 1.0, Usage(2_000_000_000, 300, 150, 60), [container, unknown])
    lines = stats.metrics(NodeUsage(2.0, 3_000_000_000, 500, 0), [pod]).splitlines()
    own = 'container="app",namespace="shop",pod="web"'
    assert f"container_cpu_usage_seconds_total{{{own}}} 1.5 2000" in lines
    assert f"container_memory_working_set_bytes{{{own}}} 100 2000" in lines
    assert [line for line in lines if line.startswith("container_start")] == [
        f"container_start_time_seconds{{{own}}} 1.5"
    ]
    assert 'pod_memory_working_set_bytes{namespace="shop",pod="web"} 150 2000' in lines
    assert "node_cpu_usage_seconds_total 3.0 2000" in lines
