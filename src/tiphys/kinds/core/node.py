"""Node. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, Subresource
from tiphys.kinds.columns import AGE, NAME, NONE, UNKNOWN, at, column, joined
from tiphys.kinds.core.node_validation import check_spec, check_status, node_warnings
from tiphys.kinds.core.pod import PROXY_VERBS
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, flag_at
from tiphys.kinds.strategy import KindStrategy


class Taint(Model):
    key: str
    effect: str
    value: str = ""
    time_added: str | None = None


class NodeSpec(Model):
    pod_cidr: str = ""
    pod_cidrs: list[str] = []
    provider_id: str = ""
    unschedulable: bool = False
    taints: list[Taint] = []


class NodeCondition(Model):
    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_heartbeat_time: str | None = None
    last_transition_time: str | None = None


class NodeAddress(Model):
    type: str
    address: str


class DaemonEndpoint(Model):
    port: int = msgspec.field(name="Port", default=0)


class NodeDaemonEndpoints(Model):
    kubelet_endpoint: DaemonEndpoint = DaemonEndpoint()


class NodeSystemInfo(Model):
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel_version: str = ""
    os_image: str = ""
    container_runtime_version: str = ""
    kubelet_version: str = ""
    kube_proxy_version: str = ""
    operating_system: str = ""
    architecture: str = ""


class ContainerImage(Model):
    names: list[str] = []
    size_bytes: int = 0


class AttachedVolume(Model):
    name: str
    device_path: str = ""


class NodeStatus(Model):
    capacity: dict[str, str] = {}
    allocatable: dict[str, str] = {}
    conditions: list[NodeCondition] = []
    addresses: list[NodeAddress] = []
    daemon_endpoints: NodeDaemonEndpoints = NodeDaemonEndpoints()
    node_info: NodeSystemInfo = NodeSystemInfo()
    images: list[ContainerImage] = []
    volumes_in_use: list[str] = []
    volumes_attached: list[AttachedVolume] = []


class Node(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    def condition(self, type_: str) -> NodeCondition | None:
        return next((condition for condition in self.status.conditions if condition.type == type_), None)

    def address(self, type_: str = "InternalIP") -> str:
        """The first address of a type, empty where the node has none."""
        return next((address.address for address in self.status.addresses if address.type == type_), "")

    @property
    def ready(self) -> bool:
        condition = self.condition("Ready")
        return condition is not None and condition.status == "True"


def _status(node: Json) -> str:
    words = []
    for condition in dig(node, "status", "conditions") or ():
        if condition.get("type") == "Ready":
            words.append("Ready" if condition.get("status") == "True" else "NotReady")
    if not words:
        words.append("Unknown")
    if dig(node, "spec", "unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(node: Json) -> str:
    roles = set()
    for label, value in (dig(node, "metadata", "labels") or {}).items():
        if label.startswith(_ROLE_PREFIX) and len(label) > len(_ROLE_PREFIX):
            roles.add(label.removeprefix(_ROLE_PREFIX))
        elif label == "kubernetes.io/role" and value:
            roles.add(value)
    return joined(sorted(roles))


def _address(type_: str) -> Callable[[Json], str]:
    def read(node: Json) -> str:
        addresses = dig(node, "status", "addresses") or ()
        return next((a.get("address", "") for a in addresses if a.get("type") == type_), NONE)

    return read


_ROLE_PREFIX = "node-role.kubernetes.io/"
_INFO = ("status", "nodeInfo")

COLUMNS = (
    NAME,
    column("Status", _status),
    column("Roles", _roles),
    AGE,
    at("Version", *_INFO, "kubeletVersion"),
    column("Internal-IP", _address("InternalIP"), wide=True),
    column("External-IP", _address("ExternalIP"), wide=True),
    at("OS-Image", *_INFO, "osImage", empty=UNKNOWN, wide=True),
    at("Kernel-Version", *_INFO, "kernelVersion", empty=UNKNOWN, wide=True),
    at("Container-Runtime", *_INFO, "containerRuntimeVersion", empty=UNKNOWN, wide=True),
)


class NodeStrategy(KindStrategy):
    """A node registers itself with its status, so a status sent with the creation stays."""

    defaults_status = True

    def default(self, new: Json) -> None:
        new.setdefault("spec", {})
        status = new.get("status")
        if status and not status.get("allocatable") and status.get("capacity"):
            status["allocatable"] = dict(status["capacity"])

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec, before = new.get("spec") or {}, (old or {}).get("spec")
        if old is None or new.get("status") != old.get("status"):
            yield from check_status(new.get("status") or {})
        if spec != before:
            yield from check_spec(spec, before or {}, created=old is None)

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        return node_warnings(new, old)


NODES = declare(
    Node, group="", version="v1", kind="Node", plural="nodes", short_names=("no",), namespaced=False, status=True,
    subresources=(Subresource("proxy", "NodeProxyOptions", PROXY_VERBS),),
    selectable_fields={
        "spec.unschedulable": flag_at("spec", "unschedulable"),
    },
    columns=COLUMNS, strategy=NodeStrategy(),
)  # fmt: skip
