"""StatefulSet. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/stateful-set-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import ScalePaths
from tiphys.kinds.apps.conditions import WorkloadCondition
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.core.persistentvolumeclaim import PersistentVolumeClaim
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare


class RollingUpdateStatefulSet(Model):
    partition: int = 0
    max_unavailable: IntOrString = 1


class StatefulSetUpdateStrategy(Model):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateStatefulSet = RollingUpdateStatefulSet()


class ClaimRetentionPolicy(Model):
    when_deleted: str = "Retain"
    when_scaled: str = "Retain"


class Ordinals(Model):
    start: int = 0


class StatefulSetSpec(Model):
    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    service_name: str = ""
    volume_claim_templates: list[PersistentVolumeClaim] = []
    pod_management_policy: str = "OrderedReady"
    update_strategy: StatefulSetUpdateStrategy = StatefulSetUpdateStrategy()
    revision_history_limit: int = 10
    min_ready_seconds: int = 0
    persistent_volume_claim_retention_policy: ClaimRetentionPolicy = ClaimRetentionPolicy()
    ordinals: Ordinals = Ordinals()


class StatefulSetStatus(Model):
    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None
    conditions: list[WorkloadCondition] = []


class StatefulSet(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


STATEFUL_SETS = declare(
    StatefulSet, group="apps", version="v1", kind="StatefulSet", plural="statefulsets", short_names=("sts",),
    categories=("all",), status=True, scale=ScalePaths(),
)  # fmt: skip
