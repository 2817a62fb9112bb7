"""CertificateSigningRequest. Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/"""

from __future__ import annotations

from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Subresource
from tiphys.kinds.declare import READ_WRITE, declare
from tiphys.kinds.fields import text_at


class CsrSpec(Model):
    """`request` is a PEM-encoded PKCS#10 request."""

    request: bytes = b""
    signer_name: str = ""
    expiration_seconds: int | None = None
    usages: list[str] = []
    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class CsrCondition(Model):
    type: str
    status: str = "True"
    reason: str = ""
    message: str = ""
    last_update_time: str | None = None
    last_transition_time: str | None = None


class CsrStatus(Model):
    conditions: list[CsrCondition] = []
    certificate: bytes = b""


class CertificateSigningRequest(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: CsrSpec = CsrSpec()
    status: CsrStatus = CsrStatus()

    def has(self, type_: str) -> bool:
        """Whether it is Approved, Denied or Failed."""
        return any(condition.type == type_ for condition in self.status.conditions)


CERTIFICATE_SIGNING_REQUESTS = declare(
    CertificateSigningRequest, group="certificates.k8s.io", version="v1", kind="CertificateSigningRequest",
    plural="certificatesigningrequests", short_names=("csr",), namespaced=False, status=True,
    subresources=(Subresource("approval", "CertificateSigningRequest", READ_WRITE),),
    selectable_fields={"spec.signerName": text_at("spec", "signerName")},
)  # fmt: skip
