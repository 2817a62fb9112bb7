"""ReplicaSet. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/replica-set-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import ScalePaths
from tiphys.kinds.apps.conditions import WorkloadCondition
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import text_at


class ReplicaSetSpec(Model):
    replicas: int = 1
    min_ready_seconds: int = 0
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()


class ReplicaSetStatus(Model):
    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int | None = None
    observed_generation: int = 0
    conditions: list[WorkloadCondition] = []


class ReplicaSet(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


REPLICA_SETS = declare(
    ReplicaSet, group="apps", version="v1", kind="ReplicaSet", plural="replicasets", short_names=("rs",),
    categories=("all",), status=True, scale=ScalePaths(),
    selectable_fields={"status.replicas": text_at("status", "replicas")},
)  # fmt: skip
