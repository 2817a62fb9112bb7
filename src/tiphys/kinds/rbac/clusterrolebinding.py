"""ClusterRoleBinding. Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare
from tiphys.kinds.rbac.rules import GROUP, RoleRef, Subject
from tiphys.kinds.rbac.strategy import BINDING_COLUMNS, BindingStrategy


class ClusterRoleBinding(Model):
    metadata: ObjectMeta = ObjectMeta()
    subjects: list[Subject] = []
    role_ref: RoleRef = RoleRef("", "")


CLUSTER_ROLE_BINDINGS = declare(
    ClusterRoleBinding, group=GROUP, version="v1", kind="ClusterRoleBinding", plural="clusterrolebindings",
    create_on_update=True,
    namespaced=False,
    columns=BINDING_COLUMNS, strategy=BindingStrategy(namespaced=False),
)  # fmt: skip
