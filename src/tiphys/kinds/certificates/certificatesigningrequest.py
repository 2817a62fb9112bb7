"""CertificateSigningRequest.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator

from tiphys.api import names, time
from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, Subresource
from tiphys.kinds.checks import immutable
from tiphys.kinds.columns import AGE, NAME, NONE, at, column
from tiphys.kinds.declare import READ_WRITE, declare
from tiphys.kinds.fields import dig, text_at
from tiphys.kinds.strategy import StatusStrategy


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


_PEM = "-----BEGIN CERTIFICATE REQUEST-----"


class CertificateSigningRequestStrategy(StatusStrategy):
    """Who asks is the server's to say: it sets username, uid, groups and extra of the spec."""

    name_rule = staticmethod(names.path_segment)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        try:
            text = b64decode(spec.get("request") or "", validate=True).decode()
        except ValueError:
            text = ""
        if _PEM not in text:
            rule = "PEM block type must be CERTIFICATE REQUEST"
            yield invalid("spec.request", spec.get("request") or "", rule)
        if not spec.get("usages"):
            yield required("spec.usages", "usages must be set")
        signer = spec.get("signerName") or ""
        if not signer:
            yield required("spec.signerName")
        elif signer.count("/") != 1 or not all(signer.split("/")):
            rule = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
            yield invalid("spec.signerName", signer, rule)
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            rule = "may not specify a duration less than 600 seconds (10 minutes)"
            yield invalid("spec.expirationSeconds", seconds, rule)
        yield from immutable(new, old, "spec")
        conditions = {condition.get("type") for condition in dig(new, "status", "conditions") or ()}
        if {"Approved", "Denied"} <= conditions:
            rule = "Approved and Denied conditions are mutually exclusive"
            yield invalid("status.conditions", sorted(map(str, conditions)), rule)


def _condition(obj: Json) -> str:
    conditions = {condition.get("type") for condition in dig(obj, "status", "conditions") or ()}
    word = "Denied" if "Denied" in conditions else "Approved" if "Approved" in conditions else "Pending"
    if "Failed" in conditions:
        word += ",Failed"
    return word + (",Issued" if dig(obj, "status", "certificate") else "")


def _duration(obj: Json) -> str:
    seconds = dig(obj, "spec", "expirationSeconds")
    return NONE if seconds is None else time.age(seconds)


CERTIFICATE_SIGNING_REQUESTS = declare(
    CertificateSigningRequest, group="certificates.k8s.io", version="v1", kind="CertificateSigningRequest",
    plural="certificatesigningrequests", short_names=("csr",), namespaced=False, status=True,
    subresources=(Subresource("approval", "CertificateSigningRequest", READ_WRITE),),
    selectable_fields={"spec.signerName": text_at("spec", "signerName")},
    columns=(
        NAME, AGE, at("SignerName", "spec", "signerName", empty=NONE), at("Requestor", "spec", "username"),
        column("RequestedDuration", _duration), column("Condition", _condition),
    ),
    strategy=CertificateSigningRequestStrategy(),
)  # fmt: skip
