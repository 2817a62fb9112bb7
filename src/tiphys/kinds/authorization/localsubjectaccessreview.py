"""LocalSubjectAccessReview. Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/"""

from __future__ import annotations

from tiphys.kinds.declare import declare

LOCAL_SUBJECT_ACCESS_REVIEWS = declare(
    group="authorization.k8s.io", version="v1", kind="LocalSubjectAccessReview", plural="localsubjectaccessreviews",
    verbs=("create",), virtual=True,
)  # fmt: skip
