"""What upstream warns of in a pod's spec though it is legal. Source: upstream's `pkg/api/pod/warnings.go`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api import names, quantity
from tiphys.api.resource import Json
from tiphys.kinds.core.claim_warnings import claim_warnings
from tiphys.kinds.core.node_labels import deprecation, selector_warnings, term_warnings
from tiphys.kinds.core.os_validation import every_container
from tiphys.kinds.core.pod_annotations import APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_MATCHES_NOTHING = "a null labelSelector results in matching no pod"
_BYTES = ("memory", "ephemeral-storage")
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}


def pod_warnings(pod: Json) -> Iterator[str]:
    """Of a new Pod."""
    problems = names.dns1123_label((pod.get("metadata") or {}).get("name") or "")
    if problems:
        use = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended"
        yield f"metadata.name: {use}: [{' '.join(problems)}]"
    yield from _warnings(pod.get("spec") or {}, pod.get("metadata") or {}, "")


def template_warnings(template: Json | None, path: str) -> Iterator[str]:
    """Of a PodTemplateSpec at `path`."""
    if template:
        yield from _warnings(template.get("spec") or {}, template.get("metadata") or {}, f"{path}.")


def _warnings(spec: Json, meta: Json, prefix: str) -> Iterator[str]:
    path = f"{prefix}spec"
    if spec.get("nodeSelector"):
        yield from selector_warnings(spec["nodeSelector"], f"{path}.nodeSelector")
    if spec.get("affinity"):
        yield from _node_affinity(spec["affinity"].get("nodeAffinity") or {}, f"{path}.affinity.nodeAffinity")
    if spec.get("topologySpreadConstraints"):
        yield from _spread(spec["topologySpreadConstraints"], f"{path}.topologySpreadConstraints")
    annotations = meta.get("annotations")
    if annotations:
        yield from _annotations(annotations, f"{prefix}metadata.annotations")
    if spec.get("volumes"):
        yield from _volumes(spec["volumes"], f"{path}.volumes")
    yield from _twice(spec.get("hostAliases") or (), f"{path}.hostAliases", "ip")
    yield from _twice(spec.get("imagePullSecrets") or (), f"{path}.imagePullSecrets", "name")
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield f'{path}.imagePullSecrets[{index}].name: invalid empty name ""'
    if spec.get("overhead"):
        yield from _fractions(spec["overhead"], f"{path}.overhead")
    if annotations:
        yield from _profiles(spec, annotations, prefix)
    yield from _containers(spec, path)
    if spec.get("terminationGracePeriodSeconds", 30) < 0:
        rule = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{path}.terminationGracePeriodSeconds: {rule}"
    if spec.get("affinity"):
        for kind in ("podAffinity", "podAntiAffinity"):
            yield from _pod_affinity(spec["affinity"].get(kind) or {}, f"{path}.affinity.{kind}")


def _node_affinity(affinity: Json, path: str) -> Iterator[str]:
    for index, term in enumerate((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        yield from term_warnings(term, f"{path}.{_REQUIRED}.nodeSelectorTerms[{index}]")
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        where = f"{path}.{_PREFERRED}[{index}].preference"
        yield from term_warnings(term.get("preference") or {}, where, values=True)


def _pod_affinity(affinity: Json, path: str) -> Iterator[str]:
    for index, term in enumerate(affinity.get(_REQUIRED) or ()):
        if term.get("labelSelector") is None:
            yield f"{path}.{_REQUIRED}[{index}].labelSelector: {_MATCHES_NOTHING}"
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        if (term.get("podAffinityTerm") or {}).get("labelSelector") is None:
            yield f"{path}.{_PREFERRED}[{index}].podAffinityTerm.labelSelector: {_MATCHES_NOTHING}"


def _spread(constraints: list[Json], path: str) -> Iterator[str]:
    for index, constraint in enumerate(constraints):
        key = constraint.get("topologyKey") or ""
        if deprecation(key):
            yield f"{path}[{index}].topologyKey: {key} is {deprecation(key)}"
        if constraint.get("labelSelector") is None:
            yield f"{path}[{index}].labelSelector: {_MATCHES_NOTHING}"


def _annotations(annotations: Json, path: str) -> Iterator[str]:
    for key, rule in _ANNOTATIONS.items():
        if key in annotations:
            yield f"{path}[{key}]: {rule}"


def _volumes(volumes: list[Json], path: str) -> Iterator[str]:
    tokens: set[str] = set()
    for index, volume in enumerate(volumes):
        for name in volume:
            if name in _VOLUMES and volume[name] is not None:
                shown = "storageOS" if name == "storageos" else name
                yield f"{path}[{index}].{shown}: {_VOLUMES[name]}"
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if template is not None:
            where = f"{path}[{index}].ephemeral.volumeClaimTemplate.spec"
            yield from claim_warnings(template.get("spec") or {}, where)
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken") is not None:
                tokens.add(source["serviceAccountToken"].get("path") or "")
    if tokens:
        for index, volume in enumerate(volumes):
            for source in (volume.get("projected") or {}).get("sources") or ():
                yield from _over_token(source, f"{path}[{index}].projected.sources", tokens)


def _over_token(source: Json, path: str, tokens: set[str]) -> Iterator[str]:
    """Files that a projection puts where a token is."""
    for name, shown in (("configMap", "configMap"), ("secret", "secrets"), ("downwardAPI", "downwardAPI")):
        for index, item in enumerate((source.get(name) or {}).get("items") or ()):
            if item.get("path") in tokens:
                yield f'{path}.{shown}[{index}]: has duplicated path with ServiceAccountToken "{item["path"]}"'
    place = (source.get("clusterTrustBundle") or {}).get("path")
    if place in tokens:
        yield f'{path}.ClusterTrustBundle: has duplicated path with ServiceAccountToken "{place}"'


def _twice(items: Any, path: str, field: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        value = item.get(field) or ""
        if value in seen:
            yield f'{path}[{index}].{field}: duplicate {field} "{value}"'
        seen.add(value)


def _fractions(amounts: Json, path: str) -> Iterator[str]:
    for name in _BYTES:
        amount = amounts.get(name)
        if amount is not None and quantity.parse(amount).milli() % 1000:
            yield f'{path}[{name}]: fractional byte value "{amount}" is invalid, must be an integer'


def _profiles(spec: Json, annotations: Json, prefix: str) -> Iterator[str]:
    """Old annotations of security profiles without the field that took their place."""
    context, path = spec.get("securityContext") or {}, f"{prefix}metadata.annotations"
    if SECCOMP_POD in annotations and context.get("seccompProfile") is None:
        yield f"{path}[{SECCOMP_POD}]: {_SECCOMP}"
    for container, _ in every_container(spec, ""):
        own, name = container.get("securityContext") or {}, container.get("name") or ""
        if SECCOMP_CONTAINER + name in annotations and own.get("seccompProfile") is None:
            yield f"{path}[{SECCOMP_CONTAINER}{name}]: {_SECCOMP}"
        if APP_ARMOR + name in annotations and (own.get("appArmorProfile") or context.get("appArmorProfile")) is None:
            rule = 'deprecated since v1.30; use the "appArmorProfile" field instead'
            yield f"{path}[{APP_ARMOR}{name}]: {rule}"


def _containers(spec: Json, path: str) -> Iterator[str]:
    ports: dict[tuple[Any, Any], list[tuple[str, Json]]] = {}
    found: list[str] = []
    for container, where in every_container(spec, path):
        for kind, amounts in (container.get("resources") or {}).items():
            if kind != "claims":
                yield from _fractions(amounts, f"{where}.resources.{kind}")
        if len(container.get("env") or ()) > 1:
            yield from _hidden(container["env"], f"{where}.env")
        for index, port in enumerate(container.get("ports") or ()):
            found += _collisions(port, f"{where}.ports[{index}]", ports)
    yield from found


def _hidden(variables: list[Json], path: str) -> Iterator[str]:
    """Variables that are said twice, the second not made of the first."""
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name = variable.get("name") or ""
        reference, value = f"$({name})", variable.get("value") or ""
        replaced = variable.get("valueFrom") is not None or value == reference or reference not in value
        if name in seen and replaced:
            yield f'{path}[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _collisions(port: Json, path: str, ports: dict[tuple[Any, Any], list[tuple[str, Json]]]) -> Iterator[str]:
    host, address = port.get("hostPort") or 0, port.get("hostIP") or ""
    if address and not host:
        shown = " ".join((
            f"Name:{port.get('name') or ''}", "HostPort:0", f"ContainerPort:{port.get('containerPort') or 0}",
            f"Protocol:{port.get('protocol') or ''}", f"HostIP:{address}",
        ))  # fmt: skip
        yield f"{path}: hostIP set without hostPort: {{{shown}}}"
    others = ports.setdefault((port.get("containerPort"), port.get("protocol")), [])
    for where, other in others:
        other_host, other_address = other.get("hostPort") or 0, other.get("hostIP") or ""
        if (host, address) == (other_host, other_address):
            yield f"{path}: duplicate port definition with {where}"
        elif not host or not other_host:
            yield f"{path}: overlapping port definition with {where}"
        elif host == other_host and bool(address) != bool(other_address):
            yield f"{path}: dangerously ambiguous port definition with {where}"
    others.append((path, port))
