"""ReplicaSet. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/replica-set-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, ScalePaths
from tiphys.kinds.apps.conditions import WorkloadCondition
from tiphys.kinds.apps.selector import check_selector
from tiphys.kinds.apps.status_rules import check_counts
from tiphys.kinds.apps.warnings import workload_warnings
from tiphys.kinds.checks import immutable, non_negative
from tiphys.kinds.columns import AGE, NAME, number, template_columns
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.pod_defaults import default_template
from tiphys.kinds.core.pod_validation import check_template
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import put_default, text_at
from tiphys.kinds.strategy import StatusStrategy


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


class ReplicaSetStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        put_default(spec, "replicas", 1)
        default_template(spec.get("template") or {})

    def prepare(self, new: Json, old: Json | None) -> None:
        if old is None:
            new["status"] = {"replicas": 0}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is None or new.get("spec") != old.get("spec"):
            spec = new.get("spec") or {}
            yield from non_negative(spec, "spec", "replicas", "minReadySeconds")
            # The word is upstream's, which took it over from deployments.
            yield from check_selector(spec, "deployment")
            yield from check_template(spec.get("template"), "spec.template")
            yield from immutable(new, old, "spec.selector")
        if old is not None and new.get("status") != old.get("status"):
            yield from check_replica_status(new.get("status") or {})

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        return workload_warnings(new, old)


def check_replica_status(status: Json) -> Iterator[FieldError]:
    """Also of a ReplicationController."""
    parts = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    return check_counts(status, "replicas", *parts, "observedGeneration", "terminatingReplicas", within=parts)


REPLICA_SETS = declare(
    ReplicaSet, group="apps", version="v1", kind="ReplicaSet", plural="replicasets", short_names=("rs",),
    categories=("all",), status=True, scale=ScalePaths(),
    selectable_fields={"status.replicas": text_at("status", "replicas")},
    columns=(
        NAME, number("Desired", "spec", "replicas"), number("Current", "status", "replicas"),
        number("Ready", "status", "readyReplicas"), AGE,
        *template_columns("spec", "template", selector=("spec", "selector")),
    ),
    strategy=ReplicaSetStrategy(),
)  # fmt: skip
