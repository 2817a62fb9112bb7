"""SubjectAccessReview. Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

SUBJECT_ACCESS_REVIEWS = declare(
    group="authorization.k8s.io", version="v1", kind="SubjectAccessReview", plural="subjectaccessreviews",
    namespaced=False, verbs=("create",), virtual=True,
)  # fmt: skip
