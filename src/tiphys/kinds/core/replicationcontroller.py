"""ReplicationController. Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, ScalePaths
from tiphys.kinds.apps.replicaset import ReplicaSetStatus, check_replica_status
from tiphys.kinds.apps.warnings import workload_warnings
from tiphys.kinds.checks import non_negative
from tiphys.kinds.columns import AGE, NAME, column, map_text, number, template_columns
from tiphys.kinds.core.pod_defaults import default_template
from tiphys.kinds.core.pod_validation import check_template
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default, text_at
from tiphys.kinds.strategy import StatusStrategy


class ReplicationControllerSpec(Model):
    replicas: int = 1
    min_ready_seconds: int = 0
    selector: dict[str, str] = {}
    template: PodTemplateSpec = PodTemplateSpec()


class ReplicationController(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicationControllerSpec = ReplicationControllerSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class ReplicationControllerStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        template = spec.get("template") or {}
        labels = dig(template, "metadata", "labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            meta = new.setdefault("metadata", {})
            if not meta.get("labels"):
                meta["labels"] = dict(labels)
        put_default(spec, "replicas", 1)
        default_template(template)

    def prepare(self, new: Json, old: Json | None) -> None:
        if old is None:
            new["status"] = {"replicas": 0}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is None or new.get("spec") != old.get("spec"):
            yield from _check_spec(new.get("spec") or {})
        if old is not None and new.get("status") != old.get("status"):
            yield from check_replica_status(new.get("status") or {})

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        return workload_warnings(new, old)


def _check_spec(spec: Json) -> Iterator[FieldError]:
    yield from non_negative(spec, "spec", "minReadySeconds")
    selector = spec.get("selector") or {}
    if not selector:
        yield required("spec.selector")
    yield from non_negative(spec, "spec", "replicas")
    template = spec.get("template")
    if template is None:
        yield required("spec.template")
        return
    labels = dig(template, "metadata", "labels") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from check_template(template, "spec.template", kind="ReplicationController")


REPLICATION_CONTROLLERS = declare(
    ReplicationController, group="", version="v1", kind="ReplicationController", plural="replicationcontrollers",
    default_propagation="Orphan",
    short_names=("rc",), categories=("all",), status=True, scale=ScalePaths(),
    selectable_fields={"status.replicas": text_at("status", "replicas")},
    columns=(
        NAME, number("Desired", "spec", "replicas"), number("Current", "status", "replicas"),
        number("Ready", "status", "readyReplicas"), AGE, *template_columns("spec", "template"),
        column("Selector", lambda obj: map_text(dig(obj, "spec", "selector")), wide=True),
    ),
    strategy=ReplicationControllerStrategy(),
)  # fmt: skip
