"""ValidatingAdmissionPolicy. Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

VALIDATING_ADMISSION_POLICIES = declare(
    group="admissionregistration.k8s.io", version="v1",
    kind="ValidatingAdmissionPolicy", plural="validatingadmissionpolicies",
    categories=("api-extensions",), namespaced=False, status=True,
)  # fmt: skip
