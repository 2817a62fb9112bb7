"""/metrics/cadvisor under the names that dashboards know."""

from __future__ import annotations

from tiphys.kubelet.runtime import ContainerUsage
from tiphys.kubelet.server import cadvisor
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
