"""Role. Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.columns import CREATED_AT, NAME
from tiphys.kinds.declare import declare
from tiphys.kinds.rbac.rules import GROUP, PolicyRule
from tiphys.kinds.rbac.strategy import RoleStrategy


class Role(Model):
    metadata: ObjectMeta = ObjectMeta()
    rules: list[PolicyRule] = []


ROLES = declare(
    Role, group=GROUP, version="v1", kind="Role", plural="roles",
    create_on_update=True,
    columns=(NAME, CREATED_AT), strategy=RoleStrategy(namespaced=True),
)  # fmt: skip
