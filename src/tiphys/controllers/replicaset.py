"""The ReplicaSet controller. Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/"""

from __future__ import annotations

from tiphys.api.selectors import LabelSelector
from tiphys.controllers.ownership import selector_of
from tiphys.controllers.replicas import ReplicaController
from tiphys.kinds.apps.replicaset import REPLICA_SETS, ReplicaSet


class ReplicaSetController(ReplicaController[ReplicaSet]):
    name = "replicaset-controller"
    resource = REPLICA_SETS

    def selector(self, owner: ReplicaSet) -> LabelSelector:
        return selector_of(owner.spec.selector)
