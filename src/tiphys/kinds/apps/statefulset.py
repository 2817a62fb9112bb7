"""StatefulSet. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/stateful-set-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, forbidden, invalid
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, ScalePaths
from tiphys.kinds.apps.conditions import WorkloadCondition
from tiphys.kinds.apps.selector import check_selector
from tiphys.kinds.apps.status_rules import check_collisions, check_counts
from tiphys.kinds.apps.warnings import workload_warnings
from tiphys.kinds.checks import at_most_100_percent, follows, int_or_percent, is_zero, non_negative, one_of
from tiphys.kinds.columns import AGE, NAME, column, template_columns
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.claim_defaults import default_claim_spec
from tiphys.kinds.core.claim_warnings import claim_warnings
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.core.persistentvolumeclaim import PersistentVolumeClaim
from tiphys.kinds.core.pod_defaults import default_template
from tiphys.kinds.core.pod_validation import check_template
from tiphys.kinds.core.podspec import PodTemplateSpec
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default, put_text
from tiphys.kinds.strategy import StatusStrategy


class RollingUpdateStatefulSet(Model):
    partition: int = 0
    max_unavailable: IntOrString = 1


class StatefulSetUpdateStrategy(Model):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdateStatefulSet = RollingUpdateStatefulSet()


class ClaimRetentionPolicy(Model):
    when_deleted: str = "Retain"
    when_scaled: str = "Retain"


class Ordinals(Model):
    start: int = 0


class StatefulSetSpec(Model):
    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()
    service_name: str = ""
    volume_claim_templates: list[PersistentVolumeClaim] = []
    pod_management_policy: str = "OrderedReady"
    update_strategy: StatefulSetUpdateStrategy = StatefulSetUpdateStrategy()
    revision_history_limit: int = 10
    min_ready_seconds: int = 0
    persistent_volume_claim_retention_policy: ClaimRetentionPolicy = ClaimRetentionPolicy()
    ordinals: Ordinals = Ordinals()


class StatefulSetStatus(Model):
    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None
    conditions: list[WorkloadCondition] = []


class StatefulSet(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


_CHANGEABLE = (
    "replicas", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy", "minReadySeconds", "ordinals",
    "revisionHistoryLimit",
)  # fmt: skip
_RULE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


class StatefulSetStrategy(StatusStrategy):
    """Names of pods are made of its name, which so is a label."""

    name_rule = staticmethod(names.dns1123_label)

    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        put_default(spec, "replicas", 1)
        put_default(spec, "revisionHistoryLimit", 10)
        put_text(spec, "podManagementPolicy", "OrderedReady")
        update = spec.setdefault("updateStrategy", {})
        put_text(update, "type", "RollingUpdate")
        if update["type"] == "RollingUpdate":
            put_default(update.setdefault("rollingUpdate", {}), "partition", 0)
        retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
        put_text(retention, "whenDeleted", "Retain")
        put_text(retention, "whenScaled", "Retain")
        for claim in spec.get("volumeClaimTemplates") or ():
            put_default(claim, "apiVersion", "v1")
            put_default(claim, "kind", "PersistentVolumeClaim")
            default_claim_spec(claim.setdefault("spec", {}))
            claim.setdefault("status", {}).setdefault("phase", "Pending")
        default_template(spec.get("template") or {})

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec, before = new.get("spec") or {}, (old or {}).get("spec")
        if spec != before:
            yield from _check_spec(spec, before)
            if before is not None and _fixed(spec) != _fixed(before):
                yield forbidden("spec", _RULE)
        if old is not None and new.get("status") != old.get("status"):
            status = new.get("status") or {}
            parts = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
            counts = ("replicas", *parts, "observedGeneration")
            yield from check_counts(status, *counts, within=parts, ready="status.readyReplicas")
            yield from check_collisions(status, old.get("status") or {})

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        yield from workload_warnings(new, old, named=False)
        if old is None or new.get("spec") != old.get("spec"):
            for index, claim in enumerate(dig(new, "spec", "volumeClaimTemplates") or ()):
                yield from claim_warnings(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{index}].spec")
            if (dig(new, "spec", "revisionHistoryLimit") or 0) < 0:
                rule = "a negative value retains all historical revisions; a value >= 0 is recommended"
                yield f"spec.revisionHistoryLimit: {rule}"


def _check_spec(spec: Json, before: Json | None) -> Iterator[FieldError]:
    policy = spec.get("podManagementPolicy")
    if policy not in ("OrderedReady", "Parallel"):
        yield invalid("spec.podManagementPolicy", policy or "", "must be 'OrderedReady' or 'Parallel'")
    yield from _check_update_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for field in ("whenDeleted", "whenScaled"):
        yield from one_of(retention, "spec.persistentVolumeClaimRetentionPolicy", field, ("Retain", "Delete"))
    yield from non_negative(spec, "spec", "replicas", "minReadySeconds")
    yield from non_negative(spec.get("ordinals") or {}, "spec.ordinals", "start")
    if before is None and spec.get("serviceName"):
        yield from follows(spec["serviceName"], "spec.serviceName", names.dns1123_label)
    yield from check_selector(spec, "statefulset")
    # A claim of a template is mounted like a volume, which the pods will have.
    claims = [
        {"name": dig(claim, "metadata", "name") or "", "persistentVolumeClaim": {"claimName": "claim"}}
        for claim in spec.get("volumeClaimTemplates") or ()
    ]
    yield from check_template(spec.get("template"), "spec.template", kind="StatefulSet", more_volumes=claims)


def _fixed(spec: Json) -> Json:
    return {name: value for name, value in spec.items() if name not in _CHANGEABLE}


def _check_update_strategy(strategy: Json, path: str) -> Iterator[FieldError]:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind not in ("OnDelete", "RollingUpdate"):
        yield invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")
    elif kind == "OnDelete" and rolling is not None:
        yield invalid(f"{path}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
    elif rolling:
        yield from non_negative(rolling, f"{path}.rollingUpdate", "partition")
        yield from int_or_percent(rolling, f"{path}.rollingUpdate", "maxUnavailable")
        if rolling.get("maxUnavailable") is not None and is_zero(rolling["maxUnavailable"]):
            yield invalid(f"{path}.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], "cannot be 0")
        yield from at_most_100_percent(rolling, f"{path}.rollingUpdate", "maxUnavailable")


def _ready(obj: Json) -> str:
    return f"{dig(obj, 'status', 'readyReplicas') or 0}/{dig(obj, 'spec', 'replicas') or 0}"


STATEFUL_SETS = declare(
    StatefulSet, group="apps", version="v1", kind="StatefulSet", plural="statefulsets", short_names=("sts",),
    categories=("all",), status=True, scale=ScalePaths(),
    columns=(NAME, column("Ready", _ready), AGE, *template_columns("spec", "template")),
    strategy=StatefulSetStrategy(),
)  # fmt: skip
