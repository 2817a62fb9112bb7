"""DaemonSet. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/daemon-set-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, invalid, not_supported, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.apps.conditions import WorkloadCondition
from tiphys.kinds.apps.selector import check_selector
from tiphys.kinds.apps.status_rules import check_collisions, check_counts
from tiphys.kinds.apps.warnings import workload_warnings
from tiphys.kinds.checks import at_most_100_percent, immutable, int_or_percent, is_zero, non_negative
from tiphys.kinds.columns import AGE, NAME, column, map_text, number, template_columns
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.core.pod_defaults import default_template
from tiphys.kinds.core.pod_validation import check_template
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default, put_text
from tiphys.kinds.strategy import StatusStrategy


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


class DaemonSetStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        put_default(spec, "revisionHistoryLimit", 10)
        update = spec.setdefault("updateStrategy", {})
        put_text(update, "type", "RollingUpdate")
        if update["type"] == "RollingUpdate":
            rolling = update.setdefault("rollingUpdate", {})
            put_default(rolling, "maxUnavailable", 1)
            put_default(rolling, "maxSurge", 0)
        default_template(spec.get("template") or {})

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is None or new.get("spec") != old.get("spec"):
            spec = new.get("spec") or {}
            yield from check_selector(spec, "daemonset")
            yield from check_template(spec.get("template"), "spec.template", kind="DaemonSet")
            yield from non_negative(spec, "spec", "minReadySeconds")
            yield from _check_update_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
            yield from non_negative(spec, "spec", "revisionHistoryLimit")
            yield from immutable(new, old, "spec.selector")
        if old is not None and new.get("status") != old.get("status"):
            yield from check_counts(new.get("status") or {}, *_COUNTS)
            yield from check_collisions(new.get("status") or {}, old.get("status") or {})

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        return workload_warnings(new, old, named=False)


_COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration",
    "updatedNumberScheduled", "numberAvailable", "numberUnavailable",
)  # fmt: skip


def _check_update_strategy(strategy: Json, path: str) -> Iterator[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate") or {}
    if kind not in ("OnDelete", "RollingUpdate"):
        yield not_supported(path, strategy, ("RollingUpdate", "OnDelete"))
    elif kind == "RollingUpdate":
        where = f"{path}.rollingUpdate"
        yield from int_or_percent(rolling, where, "maxUnavailable", "maxSurge")
        yield from at_most_100_percent(rolling, where, "maxUnavailable", "maxSurge")
        zero = {name: is_zero(rolling.get(name)) for name in ("maxUnavailable", "maxSurge")}
        if not zero["maxUnavailable"] and not zero["maxSurge"]:
            rule = "may not be set when maxUnavailable is non-zero"
            yield invalid(f"{where}.maxSurge", rolling.get("maxSurge"), rule)
        if all(zero.values()):
            yield required(f"{where}.maxUnavailable", "cannot be 0 when maxSurge is 0")


DAEMON_SETS = declare(
    DaemonSet, group="apps", version="v1", kind="DaemonSet", plural="daemonsets", short_names=("ds",),
    categories=("all",), status=True,
    columns=(
        NAME, number("Desired", "status", "desiredNumberScheduled"),
        number("Current", "status", "currentNumberScheduled"), number("Ready", "status", "numberReady"),
        number("Up-to-date", "status", "updatedNumberScheduled"), number("Available", "status", "numberAvailable"),
        column("Node Selector", lambda obj: map_text(dig(obj, "spec", "template", "spec", "nodeSelector"))), AGE,
        *template_columns("spec", "template", selector=("spec", "selector")),
    ),
    strategy=DaemonSetStrategy(),
)  # fmt: skip
