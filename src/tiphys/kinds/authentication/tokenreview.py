"""TokenReview. Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

TOKEN_REVIEWS = declare(
    group="authentication.k8s.io", version="v1", kind="TokenReview", plural="tokenreviews",
    namespaced=False, verbs=("create",), virtual=True,
)  # fmt: skip
