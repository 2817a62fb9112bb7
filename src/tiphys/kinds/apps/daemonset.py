"""DaemonSet. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/daemon-set-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.apps.conditions import WorkloadCondition
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare


class RollingUpdateDaemonSet(Model):
    max_unavailable: IntOrString = 1
    max_surge: IntOrString = 0


class DaemonSetUpdateStrategy(Model):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateDaemonSet = RollingUpdateDaemonSet()


class DaemonSetSpec(Model):
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    update_strategy: DaemonSetUpdateStrategy = DaemonSetUpdateStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int = 10


class DaemonSetStatus(Model):
    current_number_scheduled: int = 0
    number_misscheduled: int = 0
    desired_number_scheduled: int = 0
    number_ready: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    observed_generation: int = 0
    collision_count: int | None = None
    conditions: list[WorkloadCondition] = []


class DaemonSet(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


DAEMON_SETS = declare(
    DaemonSet, group="apps", version="v1", kind="DaemonSet", plural="daemonsets", short_names=("ds",),
    categories=("all",), status=True,
)  # fmt: skip
