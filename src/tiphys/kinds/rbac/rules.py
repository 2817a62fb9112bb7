"""The parts of the RBAC kinds. Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/"""

from __future__ import annotations

from tiphys.api.meta import Model
from tiphys.kinds.core.affinity import LabelSelector

GROUP = "rbac.authorization.k8s.io"


class PolicyRule(Model):
    verbs: list[str] = []
    api_groups: list[str] = []
    resources: list[str] = []
    resource_names: list[str] = []
    non_resource_urls: list[str] = []


class AggregationRule(Model):
    cluster_role_selectors: list[LabelSelector] = []


class RoleRef(Model):
    kind: str
    name: str
    api_group: str = GROUP


class Subject(Model):
    kind: str
    name: str
    namespace: str = ""
    api_group: str = ""
