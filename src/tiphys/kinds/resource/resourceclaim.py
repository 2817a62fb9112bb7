"""ResourceClaim. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.errors import FieldError
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.checks import immutable
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.core.affinity import NodeSelector
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_text
from tiphys.kinds.resource.claim_status import check_status
from tiphys.kinds.resource.claim_validation import check_claim, request_names
from tiphys.kinds.resource.requests import DeviceToleration, ResourceClaimSpec
from tiphys.kinds.strategy import StatusStrategy

# So many pods can share a claim.
MOST_CONSUMERS = 256
# Keeps a claim whose devices are in use from going.
FINALIZER = "resource.kubernetes.io/delete-protection"
# Marks claims that the scheduler makes for extended resources of pods.
EXTENDED = "resource.kubernetes.io/extended-resource-claim"


class Consumer(Model):
    """Whom a claim is reserved for: `resource` is pods where nothing else is meant."""

    resource: str
    name: str
    uid: str
    api_group: str = ""


class AllocatedDevice(Model):
    request: str
    driver: str
    pool: str
    device: str
    admin_access: bool = False
    share_id: str = ""
    consumed_capacity: dict[str, str] = {}
    tolerations: list[DeviceToleration] = []
    binding_conditions: list[str] = []
    binding_failure_conditions: list[str] = []


class DeviceCondition(Model):
    type: str
    status: str
    message: str = ""


class AllocatedDeviceStatus(Model):
    """What a driver says of a device."""

    driver: str
    pool: str
    device: str
    share_id: str = ""
    conditions: list[DeviceCondition] = []


class DeviceAllocation(Model):
    results: list[AllocatedDevice] = []


class Allocation(Model):
    devices: DeviceAllocation = DeviceAllocation()
    node_selector: NodeSelector | None = None


class ResourceClaimStatus(Model):
    allocation: Allocation | None = None
    reserved_for: list[Consumer] = []
    devices: list[AllocatedDeviceStatus] = []


class ResourceClaim(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: ResourceClaimSpec = ResourceClaimSpec()
    status: ResourceClaimStatus = ResourceClaimStatus()


class ResourceClaimStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        default_claim(new.setdefault("spec", {}))

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if old is None:
            yield from check_claim(spec, "spec")
            return
        yield from immutable(new, old, "spec")
        status, before = new.get("status") or {}, old.get("status") or {}
        if status != before:
            deleted = dig(new, "metadata", "deletionTimestamp") is not None
            yield from check_status(status, before, request_names(spec.get("devices") or {}), deleted=deleted)


def default_claim(spec: Json) -> None:
    """In place; also of a template's spec."""
    for request in dig(spec, "devices", "requests") or ():
        for choice in (request.get("exactly"), *(request.get("firstAvailable") or ())):
            if choice:
                put_text(choice, "allocationMode", "ExactCount")
                if choice["allocationMode"] == "ExactCount" and not choice.get("count"):
                    choice["count"] = 1
                for toleration in choice.get("tolerations") or ():
                    put_text(toleration, "operator", "Equal")


def _state(obj: Json) -> str:
    words = ["deleted"] if dig(obj, "metadata", "deletionTimestamp") else []
    words.append("allocated" if dig(obj, "status", "allocation") else "pending")
    if dig(obj, "status", "reservedFor"):
        words.append("reserved")
    return ",".join(words)


RESOURCE_CLAIMS = declare(
    ResourceClaim, group="resource.k8s.io", version="v1", kind="ResourceClaim", plural="resourceclaims",
    status=True,
    columns=(NAME, column("State", _state), AGE), strategy=ResourceClaimStrategy(),
)  # fmt: skip
