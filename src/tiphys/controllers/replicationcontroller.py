"""The ReplicationController controller.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller/
"""

from __future__ import annotations

from tiphys.api.selectors import NOTHING, LabelSelector, of_labels
from tiphys.controllers.replicas import ReplicaController
from tiphys.kinds.core.replicationcontroller import REPLICATION_CONTROLLERS, ReplicationController


class ReplicationControllerController(ReplicaController[ReplicationController]):
    name = "replication-controller"
    resource = REPLICATION_CONTROLLERS

    def selector(self, owner: ReplicationController) -> LabelSelector:
        return of_labels(owner.spec.selector) if owner.spec.selector else NOTHING
