"""ClusterRole. Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.columns import CREATED_AT, NAME
from tiphys.kinds.declare import declare
from tiphys.kinds.rbac.rules import GROUP, AggregationRule, PolicyRule
from tiphys.kinds.rbac.strategy import RoleStrategy


class ClusterRole(Model):
    metadata: ObjectMeta = ObjectMeta()
    rules: list[PolicyRule] = []
    aggregation_rule: AggregationRule | None = None


CLUSTER_ROLES = declare(
    ClusterRole, group=GROUP, version="v1", kind="ClusterRole", plural="clusterroles", namespaced=False,
    create_on_update=True,
    columns=(NAME, CREATED_AT), strategy=RoleStrategy(namespaced=False),
)  # fmt: skip
