"""RoleBinding. Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.declare import declare
from tiphys.kinds.rbac.rules import GROUP, RoleRef, Subject


class RoleBinding(Model):
    metadata: ObjectMeta = ObjectMeta()
    subjects: list[Subject] = []
    role_ref: RoleRef = RoleRef("", "")


ROLE_BINDINGS = declare(
    RoleBinding, group=GROUP, version="v1", kind="RoleBinding", plural="rolebindings"
)  # fmt: skip
