"""What a kubelet tells of its node: pods, use, metrics, configuration, health, the machine's logs.

Paths are upstream's, so Prometheus and metrics-server can read them: /pods, /stats/summary, /metrics and below it
resource, cadvisor and probes, /configz, /logs/, /healthz. Our own is /stats/history, for `tiphys recommend`.
"""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web

from tiphys.api.resource import Json
from tiphys.base import metrics
from tiphys.base.clock import Clock
from tiphys.client.client import Client
from tiphys.kinds.core.pod import PODS
from tiphys.kubelet.agent import Kubelet
from tiphys.kubelet.config import KubeletConfig
from tiphys.kubelet.server import cadvisor, probes, stats, system_logs
from tiphys.kubelet.usage import PodUsage

_NODE_NAME = metrics.Gauge("kubelet_node_name", "The node's name. The count is always 1.", ("node",))
_PODS = metrics.Gauge("kubelet_running_pods", "Pods that have a running pod sandbox.")
_CONTAINERS = metrics.Gauge("kubelet_running_containers", "Containers by state.", ("container_state",))


class NodePages:
    def __init__(self, kubelet: Kubelet, client: Client, clock: Clock) -> None:
        self._kubelet, self._client, self._clock = kubelet, client, clock

    def route(self, router: web.UrlDispatcher) -> None:
        for path, handler in (
            ("/pods", self._pods), ("/stats/summary", self._summary), ("/stats/history", self._history),
            ("/metrics", self._metrics), ("/metrics/resource", self._resource_metrics),
            ("/metrics/cadvisor", self._container_metrics), ("/metrics/probes", self._probe_metrics),
            ("/configz", self._configuration), ("/logs/{path:.*}", system_logs.serve),
            *((f"/healthz{check}", self._health) for check in ("", "/", "/ping", "/log", "/syncloop")),
        ):  # fmt: skip
            router.add_get(path, handler)

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        query = {"fieldSelector": f"spec.nodeName={self._kubelet.config.node_name}"}
        body = await self._client.transport.send("GET", PODS.path(), query=query)
        return web.Response(body=body, content_type="application/json")

    async def _usage(self, *, disk: bool) -> tuple[stats.NodeUsage, list[PodUsage]]:
        whole = await asyncio.to_thread(stats.node_usage, self._clock.time())
        return whole, await self._kubelet.gauge.pods(disk=disk)

    async def _summary(self, request: web.Request) -> web.StreamResponse:
        disk = request.query.get("only_cpu_and_memory") != "true"
        body = stats.summary(self._kubelet.config.node_name, *await self._usage(disk=disk), disk=disk)
        return _json(body)

    async def _history(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._kubelet.usage_history.encode(), content_type="application/json")

    async def _resource_metrics(self, request: web.Request) -> web.StreamResponse:
        return _scraped(stats.metrics(*await self._usage(disk=False)))

    async def _container_metrics(self, request: web.Request) -> web.StreamResponse:
        machine = await asyncio.to_thread(cadvisor.machine)
        return _scraped(cadvisor.metrics(machine, *await self._usage(disk=True)))

    async def _probe_metrics(self, request: web.Request) -> web.StreamResponse:
        return _scraped(probes.metrics(self._kubelet.pods))

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        found = [worker.found for worker in self._kubelet.pods]
        containers = [container for pod in found for container in pod.containers]
        _NODE_NAME.set(1, self._kubelet.config.node_name)
        _PODS.set(sum(pod.sandbox is not None and pod.sandbox.ready for pod in found))
        _CONTAINERS.set(sum(container.running for container in containers), "running")
        _CONTAINERS.set(sum(container.exited for container in containers), "exited")
        return _scraped(metrics.render().decode())

    async def _configuration(self, request: web.Request) -> web.StreamResponse:
        return _json({"kubeletconfig": configuration(self._kubelet.config)})

    async def _health(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok")


def configuration(config: KubeletConfig) -> Json:
    """What upstream's KubeletConfiguration has words for."""
    return {
        "kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "port": config.port, "maxPods": config.max_pods, "cgroupRoot": config.cgroup_root,
        "clusterDomain": config.dns.domain, "clusterDNS": list(config.dns.servers),
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {}},
        "authorization": {"mode": "Webhook"},
        "nodeLeaseDurationSeconds": config.lease_seconds,
        "nodeStatusReportFrequency": f"{config.status_seconds:g}s",
        "shutdownGracePeriod": f"{config.shutdown_grace_period:g}s",
        "shutdownGracePeriodCriticalPods": f"{config.shutdown_grace_period_critical_pods:g}s",
        "systemReserved": dict(config.reserved), "registerNode": config.register, "podLogsDir": str(config.logs),
        "providerID": config.provider_id, "enableSystemLogHandler": True,
    }  # fmt: skip


def _scraped(text: str) -> web.Response:
    return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})


def _json(body: Json) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json")
