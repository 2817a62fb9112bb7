"""ValidatingAdmissionPolicy. Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/"""

from __future__ import annotations

from tiphys.kinds.admissionregistration.strategy import PARAM_KIND, PolicyStrategy
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig

VALIDATING_ADMISSION_POLICIES = declare(
    group="admissionregistration.k8s.io", version="v1",
    kind="ValidatingAdmissionPolicy", plural="validatingadmissionpolicies", unconditional_update=False,
    categories=("api-extensions",), namespaced=False, status=True,
    columns=(
        NAME, column("Validations", lambda obj: len(dig(obj, "spec", "validations") or ()), "integer"), PARAM_KIND, AGE,
    ),
    strategy=PolicyStrategy(),
)  # fmt: skip
