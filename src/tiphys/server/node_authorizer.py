"""The Node authorizer: a kubelet may read what its own pods need, and nothing else of its kind.

Secrets, ConfigMaps, claims of volumes and devices, and volumes are readable by a node exactly while a pod on it refers
to them; what every node may do besides comes from here too, since upstream binds no role to `system:nodes`.
Source: https://kubernetes.io/docs/reference/access-authn-authz/node/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api.http import User
from tiphys.api.resource import Json
from tiphys.server.authz import Rule, compiled
from tiphys.server.cache import Cache, Entry
from tiphys.server.route import Target

NODES, PREFIX = "system:nodes", "system:node:"
_PODS = "/registry/core/pods/"
_CLAIMS, _VOLUMES = "/registry/core/persistentvolumeclaims/", "/registry/core/persistentvolumes/"
_REFERRED = ("secrets", "configmaps", "persistentvolumeclaims")
# The label of volumes that are directories of a node, which its kubelet lets go.
LOCAL = "tiphys.dev/node"


def _rule(verbs: str, group: str, resources: str) -> Rule:
    return compiled({"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()})


_RULES = (
    _rule("create get list watch update patch delete", "", "nodes"),
    _rule("update patch", "", "nodes/status"),
    _rule("get list watch", "", "services pods namespaces"),
    _rule("create delete", "", "pods"),
    _rule("create", "", "pods/eviction"),
    _rule("update patch", "", "pods/status"),
    _rule("create patch update", "", "events"),
    _rule("create patch update", "events.k8s.io", "events"),
    _rule("get list watch", "discovery.k8s.io", "endpointslices"),
    _rule("get list watch", "networking.k8s.io", "networkpolicies"),
    _rule("get list watch", "node.k8s.io", "runtimeclasses"),
    _rule("get list watch", "storage.k8s.io", "csidrivers"),
    _rule("create get update patch delete", "storage.k8s.io", "csinodes"),
    _rule("get list watch", "storage.k8s.io", "volumeattachments"),
    _rule("create get list watch update patch delete deletecollection", "resource.k8s.io", "resourceslices"),
    _rule("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
    _rule("create", "authentication.k8s.io", "tokenreviews"),
    _rule("create", "authorization.k8s.io", "subjectaccessreviews localsubjectaccessreviews"),
)
_LEASE = _rule("create get update patch delete", "coordination.k8s.io", "leases")
_TOKEN = _rule("create", "", "serviceaccounts/token")
_READ = ("get", "list", "watch")


class NodeAuthorizer:
    def __init__(self, cache: Cache) -> None:
        self._pods, self._claims, self._volumes = cache.of(_PODS), cache.of(_CLAIMS), cache.of(_VOLUMES)

    def allows(self, user: User, target: Target) -> bool:
        if not user.name.startswith(PREFIX) or NODES not in user.groups or not target.is_resource:
            return False
        node = user.name[len(PREFIX) :]
        if not target.group and target.resource in _REFERRED:
            return target.verb in _READ and self._refers(node, target.resource, target.namespace, target.name)
        if not target.group and target.resource == "persistentvolumes" and not target.subresource:
            return self._may_touch(node, target)
        if target.group == "resource.k8s.io" and target.resource == "resourceclaims":
            return target.verb == "get" and self._refers(node, target.resource, target.namespace, target.name)
        if target.resource == "leases":
            return _LEASE.allows(target) and (target.verb == "create" or target.name == node)
        if _TOKEN.allows(target):
            return self._refers(node, "serviceaccounts", target.namespace, target.name)
        return any(rule.allows(target) for rule in _RULES)

    def _may_touch(self, node: str, target: Target) -> bool:
        """Whether a volume is the node's own, or used by a pod there."""
        if target.name:
            entry = self._volumes.items.get(f"{_VOLUMES}{target.name}")
            own = entry is not None and entry.labels.get(LOCAL) == node
            if target.verb == "patch":
                return own
            return target.verb in _READ and (own or self._uses(node, entry))
        return target.verb in ("list", "watch") and target.labels == f"{LOCAL}={node}"

    def _uses(self, node: str, entry: Entry | None) -> bool:
        reference = (entry.decode()["spec"].get("claimRef") or {}) if entry is not None else {}
        namespace, name = reference.get("namespace", ""), reference.get("name", "")
        claim = self._claims.items.get(f"{_CLAIMS}{namespace}/{name}")
        if entry is None or claim is None or claim.decode()["spec"].get("volumeName") != entry.name:
            return False
        return self._refers(node, "persistentvolumeclaims", namespace, name)

    def _refers(self, node: str, plural: str, namespace: str, name: str) -> bool:
        wanted = f"{plural}/{name}".encode()
        return any(
            entry.namespace == namespace and wanted in entry_references(entry)
            for entry in self._pods.having("spec.nodeName", node)
        )


def entry_references(entry: Entry) -> list[bytes]:
    """PLURAL/NAME of all that the pod needs of its namespace from the API; worked out once per write of the pod."""
    return entry.form("references", lambda e: "\n".join(_references(e.decode())).encode()).split(b"\n")


def _references(pod: Json) -> Iterator[str]:
    spec = pod["spec"]
    if spec.get("serviceAccountName"):
        yield f"serviceaccounts/{spec['serviceAccountName']}"
    for secret in spec.get("imagePullSecrets") or ():
        yield f"secrets/{secret.get('name', '')}"
    yield from _of_claims(spec, pod.get("status") or {})
    for volume in spec.get("volumes") or ():
        yield from _of_source(volume)
        if volume.get("ephemeral"):
            yield f"persistentvolumeclaims/{pod['metadata']['name']}-{volume['name']}"
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _of_source(source)
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            yield from _of_environment(container)


def _of_claims(spec: Json, status: Json) -> Iterator[str]:
    """ResourceClaims that the pod names, and those that were made for it."""
    extended = status.get("extendedResourceClaimStatus")
    for claim in (*(spec.get("resourceClaims") or ()), *(status.get("resourceClaimStatuses") or ()), extended or {}):
        if claim.get("resourceClaimName"):
            yield f"resourceclaims/{claim['resourceClaimName']}"


def _of_source(source: Json) -> Iterator[str]:
    secret: Any = source.get("secret")
    if secret:
        yield f"secrets/{secret.get('secretName') or secret.get('name', '')}"
    if source.get("configMap"):
        yield f"configmaps/{source['configMap'].get('name', '')}"
    if source.get("persistentVolumeClaim"):
        yield f"persistentvolumeclaims/{source['persistentVolumeClaim'].get('claimName', '')}"


def _of_environment(container: Json) -> Iterator[str]:
    for source in container.get("envFrom") or ():
        for field, plural in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if source.get(field):
                yield f"{plural}/{source[field].get('name', '')}"
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        for field, plural in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
            if source.get(field):
                yield f"{plural}/{source[field].get('name', '')}"
