"""RoleBinding. Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare
from tiphys.kinds.rbac.rules import GROUP, RoleRef, Subject
from tiphys.kinds.rbac.strategy import BINDING_COLUMNS, BindingStrategy


class RoleBinding(Model):
    metadata: ObjectMeta = ObjectMeta()
    subjects: list[Subject] = []
    role_ref: RoleRef = RoleRef("", "")


ROLE_BINDINGS = declare(
    RoleBinding, group=GROUP, version="v1", kind="RoleBinding", plural="rolebindings",
    create_on_update=True,
    columns=BINDING_COLUMNS, strategy=BindingStrategy(namespaced=True),
)  # fmt: skip
