"""MutatingWebhookConfiguration. Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/"""

from __future__ import annotations

from tiphys.kinds.admissionregistration.strategy import WebhookStrategy
from tiphys.kinds.columns import AGE, NAME, column
from tiphys.kinds.declare import declare

MUTATING_WEBHOOK_CONFIGURATIONS = declare(
    group="admissionregistration.k8s.io", version="v1",
    kind="MutatingWebhookConfiguration", plural="mutatingwebhookconfigurations", unconditional_update=False,
    categories=("api-extensions",), namespaced=False,
    columns=(NAME, column("Webhooks", lambda obj: len(obj.get("webhooks") or ()), "integer"), AGE),
    strategy=WebhookStrategy(mutating=True),
)  # fmt: skip
