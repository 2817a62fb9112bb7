"""Node. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/"""

from __future__ import annotations

import msgspec

from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Subresource
from tiphys.kinds.core.pod import PROXY_VERBS
from tiphys.kinds.declare import declare


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


NODES = declare(
    Node, group="", version="v1", kind="Node", plural="nodes", short_names=("no",), namespaced=False, status=True,
    subresources=(Subresource("proxy", "NodeProxyOptions", PROXY_VERBS),),
    selectable_fields={
        "spec.unschedulable": lambda obj: "true" if (obj.get("spec") or {}).get("unschedulable") else "false"
    },
)  # fmt: skip
