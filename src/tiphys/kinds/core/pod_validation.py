"""Validation of a pod's spec, shared by every kind that holds one. Runs for each pod made: absent fields cost little.

Source: upstream's `ValidatePodSpec` in `pkg/apis/core/validation/validation.go`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.api import names
from tiphys.api.errors import duplicate, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows
from tiphys.kinds.core.container_validation import Surroundings, check_containers, check_image_trimmed
from tiphys.kinds.core.os_validation import check_host_process, check_os
from tiphys.kinds.core.placement_validation import check_affinity, check_spread, check_tolerations
from tiphys.kinds.core.pod_annotations import check_annotations, check_profiles_match
from tiphys.kinds.core.pod_network_validation import check_aliases, check_dns, check_host_network
from tiphys.kinds.core.pod_resource_validation import check_pod_resources
from tiphys.kinds.core.resource_validation import check_requirements
from tiphys.kinds.core.security_validation import check_no_host_namespaces, check_pod_context
from tiphys.kinds.core.volume_validation import check_volumes

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MAX_INT32 = 2**31 - 1
_NAMES = (
    ("serviceAccountName", names.dns1123_subdomain), ("nodeName", names.dns1123_subdomain),
    ("hostname", names.dns1123_label), ("subdomain", names.dns1123_label),
    ("priorityClassName", names.dns1123_subdomain), ("runtimeClassName", names.dns1123_subdomain),
)  # fmt: skip


def check_pod(pod: Json, *, created: bool = True) -> Errors:
    """A Pod without its metadata; `created`: whether rules that old pods may break hold for it."""
    spec, meta = pod.get("spec") or {}, pod.get("metadata") or {}
    annotations = meta.get("annotations")
    if annotations:
        yield from check_annotations(annotations, spec, "metadata.annotations")
    yield from check_pod_spec(spec, "spec", owner=meta.get("name") or "", created=created)
    if not spec.get("serviceAccountName"):
        yield from _check_no_tokens(spec)
    for list_name in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(list_name) or ()):
            yield from check_image_trimmed(container, f"spec.{list_name}[{index}]")
    if created:
        if spec.get("ephemeralContainers"):
            yield forbidden("spec.ephemeralContainers", "cannot be set on create")
        if spec.get("nodeName") and spec.get("schedulingGates"):
            yield forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
        if annotations:
            yield from check_profiles_match(annotations, spec, "spec")


def _check_no_tokens(spec: Json) -> Errors:
    for index, volume in enumerate(spec.get("volumes") or ()):
        for position, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if source.get("serviceAccountToken") is not None:
                where = f"spec.volumes[{index}].projected.sources[{position}].serviceAccountToken"
                yield forbidden(where, "must not be specified when serviceAccountName is not set")


def check_template(
    template: Json | None,
    path: str,
    *,
    restart: tuple[str, ...] | None = ("Always",),
    kind: str = "ReplicaSet",
    more_volumes: Sequence[Json] = (),
) -> Errors:
    """A PodTemplateSpec of a workload of `kind` that allows the `restart` policies (None: it looks after them itself).

    `more_volumes`: what its containers may mount besides the template's own.
    """
    meta, spec = (template or {}).get("metadata") or {}, (template or {}).get("spec") or {}
    annotations = meta.get("annotations") or {}
    yield from names.validate_labels(meta.get("labels") or {}, f"{path}.labels")
    if annotations:
        yield from names.validate_annotations(annotations, f"{path}.annotations")
        yield from check_annotations(annotations, spec, f"{path}.annotations")
    yield from check_pod_spec(spec, f"{path}.spec", more_volumes=more_volumes)
    if annotations:
        yield from check_profiles_match(annotations, spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        yield forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")
    policy = spec.get("restartPolicy")
    if restart is not None and policy not in restart:
        yield not_supported(f"{path}.spec.restartPolicy", policy, restart)
    if restart == ("Always",) and spec.get("activeDeadlineSeconds") is not None:
        yield forbidden(f"{path}.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported")


def check_pod_spec(
    spec: Json, path: str, *, owner: str | None = None, created: bool = True, more_volumes: Sequence[Json] = ()
) -> Errors:
    """`owner` is the name of the Pod, None where the spec is a template's."""
    around = Surroundings(spec, path, {})
    if spec.get("volumes"):
        yield from check_volumes(spec["volumes"], f"{path}.volumes", owner, around.volumes)
    for volume in more_volumes:
        around.volumes.setdefault(volume["name"], volume)
    if spec.get("resourceClaims"):
        claims = spec["resourceClaims"]
        yield from _check_claims(claims, f"{path}.resourceClaims")
        around.claims = frozenset(claim["name"] for claim in claims if claim.get("name"))
    yield from check_containers(around)
    if spec.get("resources"):
        yield from check_pod_resources(spec, path)
    if spec.get("hostNetwork"):
        yield from check_host_network(spec, f"{path}.containers", is_pod=owner is not None)
    yield from _one_of(spec, path, "restartPolicy", RESTART_POLICIES)
    yield from _one_of(spec, path, "dnsPolicy", DNS_POLICIES)
    if spec.get("nodeSelector"):
        yield from names.validate_labels(spec["nodeSelector"], f"{path}.nodeSelector")
    where = f"{path}.securityContext"
    yield from check_pod_context(spec.get("securityContext") or {}, spec, where, created=created)
    yield from _check_placement(spec, path)
    yield from check_host_process(spec, path)
    if spec.get("hostUsers") is False:
        yield from check_no_host_namespaces(spec, path)
    yield from _check_identity(spec, path)
    if spec.get("os") is not None:
        yield from check_os(spec, path)


def _one_of(spec: Json, path: str, field: str, allowed: tuple[str, ...]) -> Errors:
    value = spec.get(field)
    if value not in allowed:
        yield not_supported(f"{path}.{field}", value, allowed) if value else required(f"{path}.{field}")


def _check_placement(spec: Json, path: str) -> Errors:
    if spec.get("affinity"):
        yield from check_affinity(spec["affinity"], f"{path}.affinity")
    if spec.get("dnsConfig") is not None or spec.get("dnsPolicy") == "None":
        yield from check_dns(spec, f"{path}.dnsConfig")
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        where = f"{path}.readinessGates[{index}].conditionType"
        yield from follows(gate.get("conditionType") or "", where, names.qualified_name)
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        where, name = f"{path}.schedulingGates[{index}]", gate.get("name") or ""
        yield from follows(name, where, names.qualified_name)
        if name in seen:
            yield duplicate(where, name)
        seen.add(name)
    if spec.get("schedulingGroup") is not None:
        group = spec["schedulingGroup"].get("podGroupName") or ""
        yield from follows(group, f"{path}.schedulingGroup.podGroupName", names.dns1123_subdomain)
    if spec.get("topologySpreadConstraints"):
        yield from check_spread(spec["topologySpreadConstraints"], f"{path}.topologySpreadConstraints")


def _check_identity(spec: Json, path: str) -> Errors:
    """Names that the spec gives or refers to, and the few fields left."""
    for field, rule in _NAMES[:2]:
        if spec.get(field):
            yield from follows(spec[field], f"{path}.{field}", rule)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _MAX_INT32:
        yield invalid(f"{path}.activeDeadlineSeconds", deadline, f"must be between 1 and {_MAX_INT32}, inclusive")
    if spec.get("hostnameOverride") is not None:
        yield from _check_hostname_override(spec, path)
    for field, rule in _NAMES[2:4]:
        if spec.get(field):
            yield from follows(spec[field], f"{path}.{field}", rule)
    if spec.get("tolerations"):
        yield from check_tolerations(spec["tolerations"], f"{path}.tolerations")
    if spec.get("hostAliases"):
        yield from check_aliases(spec["hostAliases"], f"{path}.hostAliases")
    for field, rule in _NAMES[4:]:
        if spec.get(field):
            yield from follows(spec[field], f"{path}.{field}", rule)
    preemption = spec.get("preemptionPolicy")
    if preemption is not None:
        yield from _one_of(spec, path, "preemptionPolicy", ("PreemptLowerPriority", "Never"))
    if spec.get("overhead"):
        yield from check_requirements({"limits": spec["overhead"]}, f"{path}.overhead")


def _check_hostname_override(spec: Json, path: str) -> Errors:
    where, name = f"{path}.hostnameOverride", spec["hostnameOverride"]
    yield from follows(name, where, names.dns1123_subdomain)
    if len(name) > 64:
        yield invalid(where, name, "must be no more than 64 characters")
    if spec.get("setHostnameAsFQDN"):
        rule = "may not be specified when `hostnameOverride` is set"
        yield forbidden(f"{path}.setHostnameAsFQDN", rule)
    if spec.get("hostNetwork"):
        yield forbidden(where, "may not be specified when `hostNetwork` is true")


def _check_claims(claims: list[Json], path: str) -> Errors:
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        where, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            yield required(f"{where}.name")
        elif name in seen:
            yield duplicate(f"{where}.name", name)
        else:
            yield from follows(name, f"{where}.name", names.dns1123_label)
            seen.add(name)
        made, template = claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        if made is not None and template is not None:
            rule = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield invalid(where, claim, rule)
        if made is None and template is None:
            rule = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            yield invalid(where, claim, rule)
        for field, value in (("resourceClaimName", made), ("resourceClaimTemplateName", template)):
            if value is not None:
                yield from follows(value, f"{where}.{field}", names.dns1123_subdomain)
