"""CertificateSigningRequest.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator

from tiphys.api import names, time
from tiphys.api.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json, Subresource
from tiphys.kinds.certificates.pem import certificate_problem, request_problem
from tiphys.kinds.columns import AGE, NAME, NONE, at, column
from tiphys.kinds.core.signer_names import check_signer_name
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


_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_LEGACY = "kubernetes.io/legacy-unknown"


class CertificateSigningRequestStrategy(StatusStrategy):
    """Who asks is the server's to say: it sets username, uid, groups and extra of the spec."""

    name_rule = staticmethod(names.path_segment)

    def prepare(self, new: Json, old: Json | None) -> None:
        super().prepare(new, old)
        if old is not None and "spec" in old:
            new["spec"] = old["spec"]

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        if old is None:
            yield from _check_spec(new.get("spec") or {})
            return
        status, before = new.get("status") or {}, old.get("status") or {}
        if status != before:
            yield from _check_conditions(status.get("conditions") or [], before.get("conditions") or [])
            yield from _check_certificate(status.get("certificate") or "", before.get("certificate") or "")


def _check_spec(spec: Json) -> Iterator[FieldError]:
    request, usages = spec.get("request") or "", spec.get("usages") or []
    problem = request_problem(_text(request))
    if problem is not None:
        yield invalid("spec.request", request, problem)
    if not usages:
        yield required("spec.usages")
    for index, usage in enumerate(usages):
        if usage not in _USAGES:
            yield not_supported(f"spec.usages[{index}]", usage, _USAGES)
    for index, usage in enumerate(usages):
        if usage in usages[:index]:
            yield duplicate(f"spec.usages[{index}]", usage)
    signer = spec.get("signerName") or ""
    if signer == _LEGACY:
        yield invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version")
    else:
        yield from check_signer_name(signer, "spec.signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        rule = "may not specify a duration less than 600 seconds (10 minutes)"
        yield invalid("spec.expirationSeconds", seconds, rule)


def _text(encoded: str) -> str:
    try:
        return b64decode(encoded, validate=True).decode()
    except ValueError:
        return ""


def _check_conditions(conditions: list[Json], before: list[Json]) -> Iterator[FieldError]:
    """What was wrong before may stay so; what decides a request stays."""
    path, kinds, were = "status.conditions", _kinds(conditions), _kinds(before)
    for index, (kind, condition) in enumerate(zip(kinds, conditions, strict=True)):
        where, status = f"{path}[{index}]", condition.get("status") or ""
        if not kind and "" not in were:
            yield required(f"{where}.type")
        allowed = ("True",) if kind in ("Approved", "Denied", "Failed") else ("False", "True", "Unknown")
        if not status:
            yield required(f"{where}.status")
        elif status not in allowed:
            yield not_supported(f"{where}.status", status, allowed)
        other = {"Approved": "Denied", "Denied": "Approved"}.get(kind)
        if other in kinds[:index] and not {"Approved", "Denied"} <= set(were):
            yield invalid(path, kind, "Approved and Denied conditions are mutually exclusive")
        if kind in kinds[:index] and len(were) == len(set(were)):
            yield duplicate(f"{where}.type", kind)
    for kind in ("Approved", "Denied", "Failed"):
        if kinds.count(kind) < were.count(kind):
            yield forbidden(path, f'updates may not remove a condition of type "{kind}"')


def _kinds(conditions: list[Json]) -> list[str]:
    return [condition.get("type") or "" for condition in conditions]


def _check_certificate(certificate: str, before: str) -> Iterator[FieldError]:
    if certificate == before:
        return
    path = "status.certificate"
    problem = certificate_problem(_text(certificate)) if certificate else None
    if problem is not None and (not before or certificate_problem(_text(before)) is None):
        yield invalid(path, "<certificate data>", problem)
    if before:
        yield forbidden(path, "updates may not modify existing certificate content")


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
