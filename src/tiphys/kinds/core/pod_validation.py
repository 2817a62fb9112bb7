"""Validation of a pod's spec, shared by every kind that holds one.

Source: upstream's `ValidatePodSpec` in `pkg/apis/core/validation/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, one_of
from tiphys.kinds.core.container_validation import check_containers
from tiphys.kinds.core.placement_validation import check_affinity, check_spread, check_tolerations
from tiphys.kinds.core.volume_validation import check_volumes

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MAX_INT32 = 2**31 - 1


def check_pod(pod: Json) -> Errors:
    """A Pod without its metadata."""
    return check_pod_spec(pod.get("spec") or {}, "spec")


def check_template(template: Json | None, path: str, *, restart: tuple[str, ...] = ("Always",)) -> Errors:
    """A PodTemplateSpec of a workload that allows the `restart` policies."""
    meta, spec = (template or {}).get("metadata") or {}, (template or {}).get("spec") or {}
    yield from names.validate_labels(meta.get("labels") or {}, f"{path}.labels")
    yield from names.validate_annotations(meta.get("annotations") or {}, f"{path}.annotations")
    yield from check_pod_spec(spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        yield forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")
    policy = spec.get("restartPolicy")
    if policy in RESTART_POLICIES and policy not in restart:
        yield not_supported(f"{path}.spec.restartPolicy", policy, restart)
    if "Always" in restart and spec.get("activeDeadlineSeconds") is not None:
        yield forbidden(f"{path}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")


def check_pod_spec(spec: Json, path: str) -> Errors:
    volumes = spec.get("volumes") or []
    yield from check_volumes(volumes, f"{path}.volumes")
    yield from check_containers(spec, path)
    policy = spec.get("restartPolicy")
    if not policy:
        yield required(f"{path}.restartPolicy")
    elif policy not in RESTART_POLICIES:
        yield not_supported(f"{path}.restartPolicy", policy, RESTART_POLICIES)
    yield from one_of(spec, path, "dnsPolicy", DNS_POLICIES)
    yield from _check_identity(spec, path)
    yield from _check_times(spec, path)
    yield from _check_dns(spec, path)
    yield from check_affinity(spec.get("affinity") or {}, f"{path}.affinity")
    yield from check_tolerations(spec.get("tolerations") or [], f"{path}.tolerations")
    yield from check_spread(spec.get("topologySpreadConstraints") or [], f"{path}.topologySpreadConstraints")
    yield from names.validate_labels(spec.get("nodeSelector") or {}, f"{path}.nodeSelector")
    yield from _check_security(spec, path)
    if spec.get("schedulingGates") and spec.get("nodeName"):
        yield forbidden(f"{path}.nodeName", "cannot be set until all schedulingGates have been cleared")
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        yield from follows(gate.get("name") or "", f"{path}.schedulingGates[{index}]", names.qualified_name)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        where = f"{path}.readinessGates[{index}].conditionType"
        yield from follows(gate.get("conditionType") or "", where, names.qualified_name)


def _check_identity(spec: Json, path: str) -> Errors:
    """Names that the spec gives or refers to."""
    for field, rule in (
        ("serviceAccountName", names.dns1123_subdomain),
        ("nodeName", names.dns1123_subdomain),
        ("hostname", names.dns1123_label),
        ("subdomain", names.dns1123_label),
        ("priorityClassName", names.dns1123_subdomain),
        ("runtimeClassName", names.dns1123_subdomain),
    ):
        if spec.get(field):
            yield from follows(spec[field], f"{path}.{field}", rule)
    for index, reference in enumerate(spec.get("imagePullSecrets") or ()):
        if not reference.get("name"):
            yield required(f"{path}.imagePullSecrets[{index}].name")


def _check_times(spec: Json, path: str) -> Errors:
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        rule = f"must be between 1 and {_MAX_INT32}, inclusive"
        yield invalid(f"{path}.activeDeadlineSeconds", deadline, rule)
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and grace != -1:
        yield invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0")


def _check_dns(spec: Json, path: str) -> Errors:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            yield required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
        elif not config.get("nameservers"):
            yield required(
                f"{path}.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
            )
    if config:
        servers = config.get("nameservers") or []
        if len(servers) > 3:
            yield invalid(f"{path}.dnsConfig.nameservers", servers, "must not have more than 3 nameservers")
        for index, server in enumerate(servers):
            yield from follows(server, f"{path}.dnsConfig.nameservers[{index}]", names.ip)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        yield from follows(alias.get("ip") or "", f"{path}.hostAliases[{index}].ip", names.ip)
        for position, hostname in enumerate(alias.get("hostnames") or ()):
            where = f"{path}.hostAliases[{index}].hostnames[{position}]"
            yield from follows(hostname, where, names.dns1123_subdomain)


def _check_security(spec: Json, path: str) -> Errors:
    context = spec.get("securityContext") or {}
    where = f"{path}.securityContext"
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        value = context.get(field)
        if value is not None and not 0 <= value <= _MAX_INT32:
            yield invalid(f"{where}.{field}", value, f"must be between 0 and {_MAX_INT32}, inclusive")
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= _MAX_INT32:
            rule = f"must be between 0 and {_MAX_INT32}, inclusive"
            yield invalid(f"{where}.supplementalGroups[{index}]", group, rule)
    yield from one_of(context, where, "fsGroupChangePolicy", ("Always", "OnRootMismatch"))
    yield from one_of(context, where, "supplementalGroupsPolicy", ("Merge", "Strict"))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        yield invalid(f"{path}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled")
    if spec.get("hostUsers") is False:
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(field):
                yield forbidden(f"{path}.{field}", "when `hostUsers` is false")


def pod_spec_warnings(spec: Json, path: str) -> Iterator[str]:
    """What upstream warns of though it is legal."""
    for list_name in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(list_name) or ()):
            seen: set[str] = set()
            for position, variable in enumerate(container.get("env") or ()):
                name = variable.get("name", "")
                if name in seen:
                    where = f"{path}.{list_name}[{index}].env[{position}]"
                    yield f'{where}: hides previous definition of "{name}", which may be dropped when using apply'
                seen.add(name)
