"""PodDisruptionBudget. Source: https://kubernetes.io/docs/tasks/run-application/configure-pdb/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.declare import declare


class PodDisruptionBudgetSpec(Model):
    min_available: IntOrString | None = None
    max_unavailable: IntOrString | None = None
    selector: LabelSelector | None = None
    unhealthy_pod_eviction_policy: str = "IfHealthyBudget"


class DisruptionCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    last_transition_time: str | None = None


class PodDisruptionBudgetStatus(Model):
    """`disrupted_pods`: name -> when its eviction was let through."""

    observed_generation: int = 0
    disrupted_pods: dict[str, str] = {}
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0
    conditions: list[DisruptionCondition] = []


class PodDisruptionBudget(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()


POD_DISRUPTION_BUDGETS = declare(
    PodDisruptionBudget, group="policy", version="v1", kind="PodDisruptionBudget", plural="poddisruptionbudgets",
    short_names=("pdb",), status=True,
)  # fmt: skip
