"""What /metrics/probes shows: how often each probe of each container of this node ended how, under upstream's name."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.kubelet.worker import PodWorker

_HEAD = (
    "# HELP prober_probe_total Probes of containers, by kind and result.",
    "# TYPE prober_probe_total counter",
)  # fmt: skip


def metrics(workers: Iterable[PodWorker]) -> str:
    """Prometheus text. Counts end with their pod and begin anew with the kubelet."""
    lines = list(_HEAD)
    for worker in workers:
        meta = worker.pod.metadata
        whose = f'namespace="{meta.namespace}",pod="{meta.name}",pod_uid="{meta.uid}"'
        lines += (
            f'prober_probe_total{{container="{container}",{whose},probe_type="{kind}",result="{result}"}} {count}'
            for (kind, container, result), count in worker.probes.items()
        )
    return "\n".join(lines) + "\n"
