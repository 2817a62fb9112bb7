"""ResourceSlice. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable
from tiphys.kinds.columns import AGE, NAME, UNSET, at
from tiphys.kinds.core.affinity import NodeSelector
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import text_at
from tiphys.kinds.resource.slice_validation import check_slice
from tiphys.kinds.strategy import KindStrategy


class DeviceTaint(Model):
    key: str
    effect: str
    value: str = ""
    time_added: str | None = None


class Counter(Model):
    value: str


class CounterSet(Model):
    name: str
    counters: dict[str, Counter] = {}


class CounterConsumption(Model):
    counter_set: str
    counters: dict[str, Counter] = {}


class DeviceCapacity(Model):
    value: str
    request_policy: dict[str, Any] | None = None


class SliceDevice(Model):
    """An attribute is its value by its type: string, int, bool or version. Names without a domain are the driver's."""

    name: str
    attributes: dict[str, dict[str, Any]] = {}
    capacity: dict[str, DeviceCapacity] = {}
    consumes_counters: list[CounterConsumption] = []
    node_name: str = ""
    node_selector: NodeSelector | None = None
    all_nodes: bool = False
    taints: list[DeviceTaint] = []
    binds_to_node: bool = False
    binding_conditions: list[str] = []
    binding_failure_conditions: list[str] = []
    allow_multiple_allocations: bool = False


class ResourcePool(Model):
    name: str = ""
    generation: int = 0
    resource_slice_count: int = 0


class ResourceSliceSpec(Model):
    driver: str = ""
    pool: ResourcePool = ResourcePool()
    node_name: str = ""
    node_selector: NodeSelector | None = None
    all_nodes: bool = False
    per_device_node_selection: bool = False
    devices: list[SliceDevice] = []
    shared_counters: list[CounterSet] = []


class ResourceSlice(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ResourceSliceSpec = ResourceSliceSpec()


class ResourceSliceStrategy(KindStrategy):
    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if old is None or spec != old.get("spec"):
            yield from check_slice(spec)
            yield from immutable(new, old, "spec.pool.name", "spec.driver", "spec.nodeName")


RESOURCE_SLICES = declare(
    ResourceSlice, group="resource.k8s.io", version="v1", kind="ResourceSlice", plural="resourceslices",
    namespaced=False,
    columns=(
        NAME, at("Node", "spec", "nodeName", empty=UNSET), at("Driver", "spec", "driver"),
        at("Pool", "spec", "pool", "name"), AGE,
    ),
    selectable_fields={
        "spec.nodeName": text_at("spec", "nodeName"), "spec.driver": text_at("spec", "driver"),
    },
    strategy=ResourceSliceStrategy(),
)  # fmt: skip
