"""Validation of what the kubelet and the scheduler report of a pod. Source: upstream's `ValidatePodStatusUpdate`."""

from __future__ import annotations

import ipaddress
from typing import Any

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid
from tiphys.api.resource import Json
from tiphys.kinds.checks import IMMUTABLE, Errors, follows
from tiphys.kinds.core.security_validation import check_id

_SYSTEM = ("PodScheduled", "Ready", "Initialized")
_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
_ONE_EACH = "may specify no more than one IP for each IP family"


def check_status_update(new: Json, old: Json) -> Errors:
    """Both are pods whose statuses differ."""
    after, before, spec = new.get("status") or {}, old.get("status") or {}, old.get("spec") or {}
    for index, condition in enumerate(after.get("conditions") or ()):
        if condition.get("type") not in _SYSTEM:
            # The path is upstream's.
            where = f"metadata.conditions[{index}].Type"
            yield from follows(condition.get("type") or "", where, names.qualified_name)
    nominated = after.get("nominatedNodeName")
    if nominated and nominated != before.get("nominatedNodeName"):
        yield from follows(nominated, "status.nominatedNodeName", names.dns1123_subdomain)
    if (after.get("qosClass") or "") != (before.get("qosClass") or ""):
        yield invalid("status.qosClass", after.get("qosClass") or "", IMMUTABLE)
    yield from _check_transitions(after, before, spec)
    if after.get("resourceClaimStatuses"):
        yield from _check_claims(after["resourceClaimStatuses"], spec)
    yield from _check_addresses(after, before)
    for list_name in _STATUSES:
        for index, status in enumerate(after.get(list_name) or ()):
            if "user" in status and (status["user"] or {}).get("linux") is not None:
                yield from _check_user(status["user"]["linux"], f"status.{list_name}[{index}].linux", spec)


def _check_transitions(after: Json, before: Json, spec: Json) -> Errors:
    """A container that has ended and must not be started again has not been."""
    policy = spec.get("restartPolicy")
    sidecars = {c.get("name") for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    own = {c.get("name") for c in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
           if c.get("restartPolicy") or c.get("restartPolicyRules")}  # fmt: skip
    for list_name in _STATUSES:
        rule = "Never" if list_name == "ephemeralContainerStatuses" else policy
        if rule == "Always" or not before.get(list_name):
            continue
        running = {status.get("name") for status in after.get(list_name) or () if not _ended(status)}
        for index, status in enumerate(before[list_name]):
            ended, name = _ended(status), status.get("name")
            if not ended or name not in running or name in own:
                continue
            if ended.get("exitCode") and rule == "OnFailure":
                continue
            if list_name == "initContainerStatuses" and name in sidecars:
                continue
            yield forbidden(f"status.{list_name}[{index}].state", "may not be transitioned to non-terminated state")


def _ended(status: Json) -> Json | None:
    found: Json | None = (status.get("state") or {}).get("terminated")
    return found


def _check_claims(statuses: list[Json], spec: Json) -> Errors:
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    seen: set[Any] = set()
    for index, status in enumerate(statuses):
        where, name = f"status.resourceClaimStatuses[{index}].name", status.get("name") or ""
        if name not in known:
            yield invalid(where, name, "must match the name of an entry in `spec.resourceClaims`")
        if name in seen:
            yield duplicate(where, name)
        seen.add(name)
        if status.get("resourceClaimName") is not None:
            yield from follows(status["resourceClaimName"], where, names.dns1123_subdomain)


def _check_addresses(after: Json, before: Json) -> Errors:
    pods, hosts = after.get("podIPs") or [], after.get("hostIPs") or []
    if pods and pods != before.get("podIPs"):
        yield from _check_ips(pods, "status.podIPs")
    if hosts and (hosts != before.get("hostIPs") or after.get("hostIP") != before.get("hostIP")):
        if (after.get("hostIP") or "") != hosts[0].get("ip"):
            yield invalid("status.hostIPs[0].ip", hosts[0].get("ip") or "", "must be equal to `hostIP`")
        yield from _check_ips(hosts, "status.hostIPs")


def _check_ips(addresses: list[Json], path: str) -> Errors:
    families: list[int] = []
    for index, address in enumerate(addresses):
        problems = names.ip(address.get("ip") or "")
        for problem in problems:
            yield invalid(f"{path}[{index}]", address.get("ip") or "", problem)
        if not problems:
            families.append(ipaddress.ip_address(address["ip"]).version)
    if len(addresses) > 1:
        if len(addresses) > 2 or len(set(families)) < 2:
            yield invalid(path, addresses, _ONE_EACH)
        for index, address in enumerate(addresses):
            if address in addresses[:index]:
                yield duplicate(f"{path}[{index}]", address)


def _check_user(user: Json, path: str, spec: Json) -> Errors:
    if (spec.get("os") or {}).get("name") == "windows":
        yield forbidden(path, "cannot be set for a windows pod")
        return
    yield from check_id(user, path, "uid", "gid")
    for index, group in enumerate(user.get("supplementalGroups") or ()):
        yield from check_id({"group": group}, f"{path}.supplementalGroups[{index}]", "group")
