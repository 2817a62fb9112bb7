"""ReplicationController. Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import ScalePaths
from tiphys.kinds.apps.replicaset import ReplicaSetStatus
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import text_at


class ReplicationControllerSpec(Model):
    replicas: int = 1
    min_ready_seconds: int = 0
    selector: dict[str, str] = {}
    template: PodTemplateSpec = PodTemplateSpec()


class ReplicationController(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationControllerSpec = ReplicationControllerSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


REPLICATION_CONTROLLERS = declare(
    ReplicationController, group="", version="v1", kind="ReplicationController", plural="replicationcontrollers",
    short_names=("rc",), categories=("all",), status=True, scale=ScalePaths(),
    selectable_fields={"status.replicas": text_at("status", "replicas")},
)  # fmt: skip
