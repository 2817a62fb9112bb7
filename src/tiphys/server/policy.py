"""The roles and bindings that every cluster starts with."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.resource import Json

_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}


def _meta(name: str) -> Json:
    return {"name": name, "labels": dict(_LABELS), "annotations": dict(_ANNOTATIONS)}


def cluster_roles() -> Iterator[Json]:
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    yield {"metadata": _meta("cluster-admin"), "rules": everything}


def cluster_role_bindings() -> Iterator[Json]:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:masters"}
    yield {"metadata": _meta("cluster-admin"), "roleRef": role, "subjects": [subject]}


def namespaced() -> Iterator[tuple[str, Json]]:
    """(collection path, object) of the roles and bindings inside namespaces."""
    return iter(())
