"""PodDisruptionBudget. Source: https://kubernetes.io/docs/tasks/run-application/configure-pdb/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import at_most_100_percent, int_or_percent, label_selector, non_negative, one_of
from tiphys.kinds.columns import AGE, NAME, at, number
from tiphys.kinds.conditions import check_conditions
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.strategy import StatusStrategy


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


class PodDisruptionBudgetStrategy(StatusStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is not None and new.get("status") != old.get("status"):
            counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
            yield from check_conditions(dig(new, "status", "conditions") or (), "status.conditions")
            yield from non_negative(new.get("status") or {}, "status", *counts)
        spec = new.get("spec") or {}
        if old is not None and spec == old.get("spec"):
            return
        if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
            yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
        for field in ("minAvailable", "maxUnavailable"):
            yield from int_or_percent(spec, "spec", field)
            yield from at_most_100_percent(spec, "spec", field)
        yield from label_selector(spec.get("selector"), "spec.selector")
        yield from one_of(spec, "spec", "unhealthyPodEvictionPolicy", ("AlwaysAllow", "IfHealthyBudget"))


POD_DISRUPTION_BUDGETS = declare(
    PodDisruptionBudget, group="policy", version="v1", kind="PodDisruptionBudget", plural="poddisruptionbudgets",
    unconditional_update=False,
    short_names=("pdb",), status=True,
    columns=(
        NAME, at("Min Available", "spec", "minAvailable", empty="N/A"),
        at("Max Unavailable", "spec", "maxUnavailable", empty="N/A"),
        number("Allowed Disruptions", "status", "disruptionsAllowed"), AGE,
    ),
    strategy=PodDisruptionBudgetStrategy(),
)  # fmt: skip
