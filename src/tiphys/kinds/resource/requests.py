"""What a claim asks for, as components read it: the models that ResourceClaims, their templates and classes share.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/resource-claim-v1/
"""

from __future__ import annotations

from typing import Any

from tiphys.api.meta import Model

ALL = "All"


class CelSelector(Model):
    expression: str = ""


class DeviceSelector(Model):
    cel: CelSelector = CelSelector()


class DeviceToleration(Model):
    """Without a key it tolerates every taint, without an effect every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None

    def tolerates(self, key: str, value: str, effect: str) -> bool:
        if (self.effect and self.effect != effect) or (self.key and self.key != key):
            return False
        return self.operator == "Exists" or self.value == value


class CapacityRequirements(Model):
    requests: dict[str, str] = {}


class DeviceChoice(Model):
    """What a request and an alternative of one have in common."""

    device_class_name: str = ""
    selectors: list[DeviceSelector] = []
    allocation_mode: str = "ExactCount"
    count: int = 1
    tolerations: list[DeviceToleration] = []
    capacity: CapacityRequirements | None = None


class ExactDeviceRequest(DeviceChoice):
    admin_access: bool = False


class DeviceSubRequest(DeviceChoice):
    name: str = ""


class DeviceRequest(Model):
    """`exactly`, or one of the alternatives of `first_available`, which have names of their own."""

    name: str
    exactly: ExactDeviceRequest | None = None
    first_available: list[DeviceSubRequest] = []


class DeviceConstraint(Model):
    requests: list[str] = []
    match_attribute: str | None = None
    distinct_attribute: str | None = None


class ClassConfiguration(Model):
    """`opaque` is the driver's own."""

    opaque: dict[str, Any] | None = None


class ClaimConfiguration(Model):
    requests: list[str] = []
    opaque: dict[str, Any] | None = None


class DeviceClaim(Model):
    requests: list[DeviceRequest] = []
    constraints: list[DeviceConstraint] = []
    config: list[ClaimConfiguration] = []


class ResourceClaimSpec(Model):
    devices: DeviceClaim = DeviceClaim()
