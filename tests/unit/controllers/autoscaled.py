"""Pods, autoscalers and metrics for the tests of the HorizontalPodAutoscaler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.controllers.horizontalpodautoscaler_replicas import Context, Sample, Samples
from tiphys.kinds.autoscaling.horizontalpodautoscaler import HorizontalPodAutoscaler
from tiphys.kinds.autoscaling.strategy import HorizontalPodAutoscalerStrategy
from tiphys.kinds.core.pod import Pod

NOW = 1_700_000_000.0
REQUEST: Json = {"cpu": "100m", "memory": "100Mi"}


def container(name: str = "app", requests: Json | None = None) -> Json:
    return {"name": name, "resources": {"requests": REQUEST if requests is None else requests}}


def pod(
    name: str, *, phase: str = "Running", ready: bool | None = True, started: float = 3600, changed: float = 3500,
    deleted: bool = False, containers: Sequence[Json] = (), **spec: Any,
) -> Pod:  # fmt: skip
    """`started` and `changed` (of its readiness) are seconds ago."""
    meta: Json = {"name": name, "uid": name} | ({"deletionTimestamp": rfc3339(NOW)} if deleted else {})
    status: Json = {"phase": phase, "startTime": rfc3339(NOW - started)}
    if ready is not None:
        since = rfc3339(NOW - changed)
        status["conditions"] = [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}]
    body = {"metadata": meta, "spec": {"containers": list(containers) or [container()], **spec}, "status": status}
    return msgspec.convert(body, Pod)


def pods(count: int, **fields: Any) -> list[Pod]:
    return [pod(f"p{index}", **fields) for index in range(count)]


def context(found: Sequence[Pod], replicas: int | None = None, **fields: Any) -> Context:
    return Context(found, len(found) if replicas is None else replicas, NOW, **fields)


def samples(*values: int, fault: str = "", **named: int) -> Samples:
    """`values` are of the pods p0, p1 and so on."""
    given: Mapping[str, int] = {f"p{index}": value for index, value in enumerate(values)} | named
    return Samples({name: Sample(value, NOW, 5) for name, value in given.items()}, fault)


def spec(**fields: Any) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, **fields}


def resource(target: Json, name: str = "cpu") -> Json:
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def autoscaler(**fields: Any) -> HorizontalPodAutoscaler:
    """With the defaults that the server would give it."""
    body: Json = {"metadata": {"name": "web", "namespace": "default", "generation": 1}, "spec": spec(**fields)}
    HorizontalPodAutoscalerStrategy().default(body)
    return msgspec.convert(body, HorizontalPodAutoscaler)
