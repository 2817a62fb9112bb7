"""Deployment. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, forbidden, invalid, not_supported
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, ScalePaths
from tiphys.kinds.apps.conditions import WorkloadCondition
from tiphys.kinds.apps.selector import check_selector
from tiphys.kinds.apps.status_rules import check_collisions, check_counts
from tiphys.kinds.apps.warnings import workload_warnings
from tiphys.kinds.checks import at_most_100_percent, immutable, int_or_percent, is_zero, non_negative
from tiphys.kinds.columns import AGE, NAME, column, number, template_columns
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.core.pod_defaults import default_template
from tiphys.kinds.core.pod_validation import check_template
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default, put_text
from tiphys.kinds.strategy import StatusStrategy


class RollingUpdateDeployment(Model):
    max_unavailable: IntOrString = "25%"
    max_surge: IntOrString = "25%"


class DeploymentStrategy(Model):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateDeployment = RollingUpdateDeployment()


class DeploymentSpec(Model):
    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    strategy: DeploymentStrategy = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int = 10
    paused: bool = False
    progress_deadline_seconds: int = 600


class DeploymentStatus(Model):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    terminating_replicas: int | None = None
    conditions: list[WorkloadCondition] = []
    collision_count: int | None = None


class Deployment(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class DeploymentTypeStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        put_default(spec, "replicas", 1)
        put_default(spec, "revisionHistoryLimit", 10)
        put_default(spec, "progressDeadlineSeconds", 600)
        strategy = spec.setdefault("strategy", {})
        put_text(strategy, "type", "RollingUpdate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            put_default(rolling, "maxUnavailable", "25%")
            put_default(rolling, "maxSurge", "25%")
        default_template(spec.get("template") or {})

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is None or new.get("spec") != old.get("spec"):
            yield from _check_spec(new.get("spec") or {})
            yield from immutable(new, old, "spec.selector")
        if old is not None and new.get("status") != old.get("status"):
            status = new.get("status") or {}
            yield from check_counts(status, *_COUNTS, within=("updatedReplicas", "readyReplicas", "availableReplicas"))
            yield from check_collisions(status, old.get("status") or {})

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        return workload_warnings(new, old)


_COUNTS = (
    "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas",
    "terminatingReplicas",
)  # fmt: skip


def _check_spec(spec: Json) -> Iterator[FieldError]:
    yield from non_negative(spec, "spec", "replicas")
    yield from check_selector(spec, "deployment")
    yield from check_template(spec.get("template"), "spec.template")
    yield from _check_strategy(spec.get("strategy") or {}, "spec.strategy")
    yield from non_negative(spec, "spec", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= (spec.get("minReadySeconds") or 0):
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _check_strategy(strategy: Json, path: str) -> Iterator[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind not in ("Recreate", "RollingUpdate"):
        yield not_supported(path, strategy, ("Recreate", "RollingUpdate"))
    elif kind == "Recreate" and rolling is not None:
        yield forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif kind == "RollingUpdate":
        rolling = rolling or {}
        where = f"{path}.rollingUpdate"
        yield from int_or_percent(rolling, where, "maxUnavailable", "maxSurge")
        if all(is_zero(rolling.get(name)) for name in ("maxUnavailable", "maxSurge")):
            yield invalid(f"{where}.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0")
        yield from at_most_100_percent(rolling, where, "maxUnavailable")


def _ready(obj: Json) -> str:
    return f"{dig(obj, 'status', 'readyReplicas') or 0}/{dig(obj, 'spec', 'replicas') or 0}"


DEPLOYMENTS = declare(
    Deployment, group="apps", version="v1", kind="Deployment", plural="deployments", short_names=("deploy",),
    categories=("all",), status=True, scale=ScalePaths(),
    columns=(
        NAME, column("Ready", _ready), number("Up-to-date", "status", "updatedReplicas"),
        number("Available", "status", "availableReplicas"), AGE,
        *template_columns("spec", "template", selector=("spec", "selector")),
    ),
    strategy=DeploymentTypeStrategy(),
)  # fmt: skip
