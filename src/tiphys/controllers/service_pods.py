"""Which pods stand behind which Service, and where in them its ports lead.

Pods are indexed by each of their labels, so that a Service costs the pods of its rarest label, not its namespace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tiphys.client.informer import Informers
from tiphys.controllers.ownership import NAMESPACE, by_namespace
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.core.service import SERVICES, Service, ServicePort

_LABEL = "label"


class ServicePods:
    """`queue` is called with the key of every Service whose endpoints may differ after a change of a pod."""

    def __init__(self, informers: Informers, queue: Callable[[str], None]) -> None:
        self._queue = queue
        self.services = informers.of(SERVICES)
        self.services.add_index(NAMESPACE, by_namespace)
        self.pods = informers.of(PODS)
        self.pods.add_index(_LABEL, _labels)
        self.pods.add_handler(self._changed)

    def of(self, service: Service) -> list[Pod]:
        """The pods that the Service selects, whatever their state."""
        namespace, selector = service.metadata.namespace, service.spec.selector
        buckets = [self.pods.by(_LABEL, f"{namespace}/{key}={value}") for key, value in selector.items()]
        rarest: list[Pod] = min(buckets, key=len, default=[])
        wanted = selector.items()
        return [pod for pod in rarest if wanted <= pod.metadata.labels.items()]

    def services_of(self, pod: Pod) -> Iterator[str]:
        labels = pod.metadata.labels.items()
        for service in self.services.by(NAMESPACE, pod.metadata.namespace):
            selector = service.spec.selector
            if selector and selector.items() <= labels:
                yield service.metadata.key

    def _changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and new is not None and _relevant(old) == _relevant(new):
            return
        for pod in (old, new):
            if pod is not None:
                for key in self.services_of(pod):
                    self._queue(key)


def _labels(pod: Pod) -> Iterable[str]:
    return [f"{pod.metadata.namespace}/{key}={value}" for key, value in pod.metadata.labels.items()]


def _relevant(pod: Pod) -> tuple[Any, ...]:
    """All that endpoints are made of."""
    status, spec = pod.status, pod.spec
    return (
        pod.ready, pod.deleted, pod.finished, status.pod_ip, status.pod_ips, spec.node_name, spec.hostname,
        spec.subdomain, pod.metadata.labels, pod.metadata.uid,
    )  # fmt: skip


def addresses_of(pod: Pod) -> list[str]:
    if pod.status.pod_ips:
        return [each.ip for each in pod.status.pod_ips]
    return [pod.status.pod_ip] if pod.status.pod_ip else []


def target_port(pod: Pod, port: ServicePort) -> int | None:
    """Where in `pod` a Service's port leads; None where the pod has no port of that name."""
    wanted = port.target_port or port.port
    if isinstance(wanted, int):
        return wanted
    sidecars = (container for container in pod.spec.init_containers if container.sidecar)
    for container in (*pod.spec.containers, *sidecars):
        for declared in container.ports:
            if declared.name == wanted and declared.protocol == port.protocol:
                return declared.container_port
    return None


def hostname_of(pod: Pod, service: Service) -> str:
    """The name that the pod has below the Service's, for a headless one that governs it."""
    return pod.spec.hostname if pod.spec.subdomain == service.metadata.name else ""
