"""Pod. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, Subresource
from tiphys.kinds.core.label_keys import merge_label_keys
from tiphys.kinds.core.pod_annotations import check_annotation_changes, check_annotations
from tiphys.kinds.core.pod_columns import COLUMNS
from tiphys.kinds.core.pod_defaults import default_pod_only, default_pod_spec, mirror_service_account
from tiphys.kinds.core.pod_status import check_status_update
from tiphys.kinds.core.pod_update import check_pod_update
from tiphys.kinds.core.pod_validation import check_pod
from tiphys.kinds.core.pod_warnings import pod_warnings
from tiphys.kinds.core.podspec import PodResourceClaim, PodSpec
from tiphys.kinds.core.qos import qos_class
from tiphys.kinds.declare import READ_WRITE, declare
from tiphys.kinds.fields import dig, flag_at, text_at
from tiphys.kinds.strategy import StatusStrategy

PROXY_VERBS = ("create", "delete", "get", "patch", "update")


class StateRunning(Model):
    started_at: str = ""


class StateTerminated(Model):
    exit_code: int
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str = ""
    finished_at: str = ""
    container_id: str = ""


class StateWaiting(Model):
    reason: str = ""
    message: str = ""


class ContainerState(Model):
    waiting: StateWaiting | None = None
    running: StateRunning | None = None
    terminated: StateTerminated | None = None


class ContainerStatus(Model):
    name: str
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    image: str = ""
    image_id: str = ""
    container_id: str = ""


FINISHED = ("Succeeded", "Failed")


class PodCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_probe_time: str | None = None
    last_transition_time: str | None = None
    observed_generation: int = 0


class PodIp(Model):
    ip: str


class PodResourceClaimStatus(Model):
    """The claim that was made from a template; of no name where none is needed."""

    name: str
    resource_claim_name: str | None = None


class ContainerExtendedResourceRequest(Model):
    """Which request of the claim a container's extended resource comes from."""

    container_name: str
    resource_name: str
    request_name: str


class PodExtendedResourceClaimStatus(Model):
    resource_claim_name: str
    request_mappings: list[ContainerExtendedResourceRequest] = []


class PodStatus(Model):
    phase: str = ""
    conditions: list[PodCondition] = []
    reason: str = ""
    message: str = ""
    nominated_node_name: str = ""
    host_ip: str = ""
    host_ips: list[PodIp] = []
    pod_ip: str = ""
    pod_ips: list[PodIp] = []
    start_time: str | None = None
    qos_class: str = ""
    observed_generation: int = 0
    init_container_statuses: list[ContainerStatus] = []
    container_statuses: list[ContainerStatus] = []
    ephemeral_container_statuses: list[ContainerStatus] = []
    resource_claim_statuses: list[PodResourceClaimStatus] = []
    extended_resource_claim_status: PodExtendedResourceClaimStatus | None = None

    def condition(self, type_: str) -> PodCondition | None:
        for condition in self.conditions:
            if condition.type == type_:
                return condition
        return None


class Pod(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        condition = self.status.condition("Ready")
        return condition is not None and condition.status == "True"

    @property
    def finished(self) -> bool:
        """Its containers have ended and will not be started again."""
        return self.status.phase in FINISHED

    @property
    def deleted(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def resource_claims(self) -> list[PodResourceClaim]:
        """With the one that its extended resources come from."""
        extended = self.status.extended_resource_claim_status
        more = [PodResourceClaim("", extended.resource_claim_name)] if extended is not None else []
        return [*self.spec.resource_claims, *more]

    def claim_name(self, use: PodResourceClaim) -> str | None:
        """The name of a ResourceClaim, "" if none is needed; None if none was made of the template yet."""
        if not use.resource_claim_template_name:
            return use.resource_claim_name
        made = (each for each in self.status.resource_claim_statuses if each.name == use.name)
        return next((each.resource_claim_name or "" for each in made), None)


# What a pod says of itself while gates hold it; the scheduler writes its own once they are gone.
_GATED = {
    "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
    "lastProbeTime": None, "lastTransitionTime": None,
}  # fmt: skip


class PodStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        default_pod_spec(spec)
        default_pod_only(spec)

    def prepare(self, new: Json, old: Json | None) -> None:
        spec = new.setdefault("spec", {})
        if old is None:
            new["status"] = {"phase": "Pending", "qosClass": qos_class(spec)}
            if spec.get("schedulingGates"):
                new["status"]["conditions"] = [dict(_GATED)]
            merge_label_keys(new)
        # Admission may have set the account since defaulting.
        mirror_service_account(spec)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        yield from check_pod(new) if old is None else self.validate_part(new, old, None)

    def validate_part(self, new: Json, old: Json, part: str | None) -> Iterator[FieldError]:
        """Of no `part` is a write that may change what those of any of them may."""
        # Most writes to a pod are of its status; a spec that did not change was legal when it was written.
        if new.get("spec") != old.get("spec"):
            yield from check_pod(new, created=False)
            yield from check_pod_update(new, old, part)
        if new.get("status") != old.get("status"):
            yield from check_status_update(new, old)
        after, before = (dig(pod, "metadata", "annotations") or {} for pod in (new, old))
        if after != before:
            yield from check_annotation_changes(after, before, "metadata.annotations")
            if new.get("spec") == old.get("spec"):
                yield from check_annotations(after, new.get("spec") or {}, "metadata.annotations")

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        return pod_warnings(new) if old is None else iter(())


def grace_seconds(pod: Json, requested: int | None) -> int:
    """Seconds that deletion waits for the kubelet: none for a pod that no node has, or that has ended."""
    spec = pod.get("spec") or {}
    if not spec.get("nodeName") or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    period: int = spec.get("terminationGracePeriodSeconds", 30) if requested is None else requested
    return period if period >= 0 else 1


PODS = declare(
    Pod, group="", version="v1", kind="Pod", plural="pods", short_names=("po",), categories=("all",), status=True,
    columns=COLUMNS, strategy=PodStrategy(), grace=grace_seconds,
    subresources=(
        Subresource("attach", "PodAttachOptions", ("create", "get")),
        Subresource("binding", "Binding", ("create",)),
        Subresource("ephemeralcontainers", "Pod", READ_WRITE),
        Subresource("eviction", "Eviction", ("create",), "policy", "v1"),
        Subresource("exec", "PodExecOptions", ("create", "get")),
        Subresource("log", "Pod", ("get",)),
        Subresource("portforward", "PodPortForwardOptions", ("create", "get")),
        Subresource("proxy", "PodProxyOptions", PROXY_VERBS),
        Subresource("resize", "Pod", READ_WRITE),
    ),
    selectable_fields={
        "spec.nodeName": text_at("spec", "nodeName"),
        "spec.restartPolicy": text_at("spec", "restartPolicy"),
        "spec.schedulerName": text_at("spec", "schedulerName"),
        "spec.serviceAccountName": text_at("spec", "serviceAccountName"),
        "spec.hostNetwork": flag_at("spec", "hostNetwork"),
        "status.phase": text_at("status", "phase"),
        "status.podIP": text_at("status", "podIP"),
        "status.podIPs": text_at("status", "podIP"),
        "status.nominatedNodeName": text_at("status", "nominatedNodeName"),
    },
)  # fmt: skip
