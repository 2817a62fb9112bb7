"""HorizontalPodAutoscaler, autoscaling/v2: the stored form; v1 is in `horizontalpodautoscaler_v1`.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/horizontal-pod-autoscaler-v2/
"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.autoscaling.strategy import COLUMNS, HorizontalPodAutoscalerStrategy
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.declare import declare


class ScaleTarget(Model):
    kind: str
    name: str
    api_version: str = ""


class MetricTarget(Model):
    """One of the three is set; `average_utilization` is in percent of the requests."""

    type: str
    value: str | None = None
    average_value: str | None = None
    average_utilization: int | None = None


class MetricIdentifier(Model):
    name: str
    selector: LabelSelector | None = None


class ResourceMetric(Model):
    """`container` is of a ContainerResource metric only."""

    name: str
    target: MetricTarget
    container: str = ""


class PodsMetric(Model):
    metric: MetricIdentifier
    target: MetricTarget


class ObjectMetric(Model):
    described_object: ScaleTarget
    metric: MetricIdentifier
    target: MetricTarget


class MetricSpec(Model):
    type: str
    resource: ResourceMetric | None = None
    container_resource: ResourceMetric | None = None
    pods: PodsMetric | None = None
    object: ObjectMetric | None = None
    external: PodsMetric | None = None


class ScalingPolicy(Model):
    type: str
    value: int
    period_seconds: int


class ScalingRules(Model):
    stabilization_window_seconds: int | None = None
    select_policy: str = "Max"
    policies: list[ScalingPolicy] = []
    tolerance: str | None = None


class ScalingBehavior(Model):
    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


class HorizontalPodAutoscalerSpec(Model):
    scale_target_ref: ScaleTarget = ScaleTarget("", "")
    min_replicas: int = 1
    max_replicas: int = 1
    metrics: list[MetricSpec] = []
    behavior: ScalingBehavior = ScalingBehavior()


class AutoscalerCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class HorizontalPodAutoscalerStatus(Model):
    observed_generation: int = 0
    last_scale_time: str | None = None
    current_replicas: int = 0
    desired_replicas: int = 0
    conditions: list[AutoscalerCondition] = []


class HorizontalPodAutoscaler(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: HorizontalPodAutoscalerSpec = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()


HORIZONTAL_POD_AUTOSCALERS = declare(
    HorizontalPodAutoscaler, group="autoscaling", version="v2", kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers", short_names=("hpa",), categories=("all",), status=True,
    columns=COLUMNS, strategy=HorizontalPodAutoscalerStrategy(),
)  # fmt: skip
