"""Aggregated ClusterRoles: their rules are those of every ClusterRole that their selectors choose.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from tiphys.api.meta import Key
from tiphys.api.selectors import from_object
from tiphys.controllers.base import After, Context
from tiphys.kinds.rbac.clusterrole import CLUSTER_ROLES, ClusterRole

Rules = list[Any]


class ClusterRoleAggregation:
    name = "clusterrole-aggregation-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._client = context.client.of(CLUSTER_ROLES)
        self._roles = context.informers.of(CLUSTER_ROLES)
        context.watch(CLUSTER_ROLES, self._concerned)

    async def reconcile(self, key: Key) -> After | None:
        role = self._roles.get(key)
        if role is None or role.aggregation_rule is None:
            return None
        rules = plan(role, self._roles.items())
        if rules is not None:
            await self._client.patch(role.metadata, {"rules": rules})
        return None

    def _concerned(self, changed: ClusterRole) -> Iterable[str]:
        """The role itself, and every aggregated role: which of them chose it before is not known any more."""
        yield changed.metadata.key
        for role in self._roles.items():
            if role.aggregation_rule is not None:
                yield role.metadata.key


def plan(role: ClusterRole, roles: Iterable[ClusterRole]) -> Rules | None:
    """The rules that the aggregated `role` should have, or None if it has them."""
    assert role.aggregation_rule is not None, "asked of aggregated roles only"
    selectors = [from_object(msgspec.to_builtins(s)) for s in role.aggregation_rule.cluster_role_selectors]
    rules: Rules = []
    for other in sorted(roles, key=lambda found: found.metadata.name):
        if other.metadata.name == role.metadata.name:
            continue
        if any(selector.matches(other.metadata.labels) for selector in selectors):
            rules += [rule for rule in msgspec.to_builtins(other.rules) if rule not in rules]
    return rules if rules != msgspec.to_builtins(role.rules) else None
