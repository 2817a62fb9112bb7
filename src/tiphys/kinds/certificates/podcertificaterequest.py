"""PodCertificateRequest. Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/"""

from __future__ import annotations

from tiphys.kinds.declare import declare
from tiphys.kinds.strategy import StatusStrategy

POD_CERTIFICATE_REQUESTS = declare(
    group="certificates.k8s.io", version="v1beta1", kind="PodCertificateRequest", plural="podcertificaterequests",
    status=True,
    strategy=StatusStrategy(),
)  # fmt: skip
