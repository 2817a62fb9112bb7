"""PodGroup: pods that are placed all or none. Alpha upstream, served here by default.

Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-scheduling/5832-decouple-podgroup-api
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable
from tiphys.kinds.columns import AGE, NAME, column, number
from tiphys.kinds.conditions import check_conditions
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig
from tiphys.kinds.scheduling.policy import GangSchedulingPolicy, check_group
from tiphys.kinds.strategy import StatusStrategy

SCHEDULED = "PodGroupScheduled"


class PodGroupSchedulingPolicy(Model):
    """Without `gang`, its pods are placed one by one."""

    gang: GangSchedulingPolicy | None = None


class TopologyConstraint(Model):
    key: str


class PodGroupSchedulingConstraints(Model):
    topology: list[TopologyConstraint] = []


class PodGroupSpec(Model):
    scheduling_policy: PodGroupSchedulingPolicy = PodGroupSchedulingPolicy()
    scheduling_constraints: PodGroupSchedulingConstraints = PodGroupSchedulingConstraints()


class PodGroupCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class PodGroupStatus(Model):
    conditions: list[PodGroupCondition] = []


class PodGroup(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodGroupSpec = PodGroupSpec()
    status: PodGroupStatus = PodGroupStatus()

    @property
    def scheduled(self) -> PodGroupCondition | None:
        return next((each for each in self.status.conditions if each.type == SCHEDULED), None)


# Of features of their own upstream, which are off by default there and which nothing here acts on.
_DROPPED = ("disruptionMode", "priority", "priorityClassName", "resourceClaims")


class PodGroupStrategy(StatusStrategy):
    def prepare(self, new: Json, old: Json | None) -> None:
        super().prepare(new, old)
        for field in _DROPPED:
            (new.get("spec") or {}).pop(field, None)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from immutable(new, old, "spec")
        if old is None:
            yield from check_group(new.get("spec") or {}, "spec")
        yield from check_conditions(dig(new, "status", "conditions") or (), "status.conditions")


def _scheduled(group: Json) -> str:
    conditions = dig(group, "status", "conditions") or ()
    return next((each.get("status") or "" for each in conditions if each.get("type") == SCHEDULED), "")


POD_GROUPS = declare(
    PodGroup, group="scheduling.k8s.io", version="v1alpha2", kind="PodGroup", plural="podgroups", status=True,
    columns=(
        NAME, number("Min-Count", "spec", "schedulingPolicy", "gang", "minCount"), column("Scheduled", _scheduled), AGE,
    ),
    strategy=PodGroupStrategy(),
)  # fmt: skip
