"""SelfSubjectReview. Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

SELF_SUBJECT_REVIEWS = declare(
    group="authentication.k8s.io", version="v1", kind="SelfSubjectReview", plural="selfsubjectreviews",
    namespaced=False, verbs=("create",), virtual=True,
)  # fmt: skip
