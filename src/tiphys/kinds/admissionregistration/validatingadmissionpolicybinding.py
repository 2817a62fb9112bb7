"""ValidatingAdmissionPolicyBinding. Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/"""

from __future__ import annotations

from tiphys.kinds.admissionregistration.strategy import BINDING_COLUMNS, PolicyBindingStrategy
from tiphys.kinds.declare import declare

VALIDATING_ADMISSION_POLICY_BINDINGS = declare(
    group="admissionregistration.k8s.io", version="v1",
    kind="ValidatingAdmissionPolicyBinding", plural="validatingadmissionpolicybindings", unconditional_update=False,
    categories=("api-extensions",), namespaced=False,
    columns=BINDING_COLUMNS, strategy=PolicyBindingStrategy(),
)  # fmt: skip
