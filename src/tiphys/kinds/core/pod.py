"""Pod. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Subresource
from tiphys.kinds.core.podspec import PodSpec
from tiphys.kinds.declare import READ_WRITE, declare
from tiphys.kinds.fields import text_at

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

    def condition(self, type_: str) -> PodCondition | None:
        return next((condition for condition in self.conditions if condition.type == type_), None)


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
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def deleted(self) -> bool:
        return self.metadata.deletion_timestamp is not None


PODS = declare(
    Pod, group="", version="v1", kind="Pod", plural="pods", short_names=("po",), categories=("all",), status=True,
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
        "spec.hostNetwork": lambda obj: "true" if (obj.get("spec") or {}).get("hostNetwork") else "false",
        "status.phase": text_at("status", "phase"),
        "status.podIP": text_at("status", "podIP"),
        "status.podIPs": text_at("status", "podIP"),
        "status.nominatedNodeName": text_at("status", "nominatedNodeName"),
    },
)  # fmt: skip
