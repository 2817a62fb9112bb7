"""ValidatingWebhookConfiguration. Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

VALIDATING_WEBHOOK_CONFIGURATIONS = declare(
    group="admissionregistration.k8s.io", version="v1",
    kind="ValidatingWebhookConfiguration", plural="validatingwebhookconfigurations",
    categories=("api-extensions",), namespaced=False,
)  # fmt: skip
