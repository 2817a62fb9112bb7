"""Signs approved certificate requests for the signers of `kubernetes.io`, with the cluster's CA.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#signers
"""

from __future__ import annotations

import asyncio
import datetime
from base64 import b64encode

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from tiphys.api.meta import Key
from tiphys.base.clock import utc
from tiphys.controllers.authority import Authority
from tiphys.controllers.base import After, Context
from tiphys.controllers.certificate_requests import SIGNERS, Wanted, condition, current, parse, problem
from tiphys.kinds.certificates.certificatesigningrequest import CERTIFICATE_SIGNING_REQUESTS, CertificateSigningRequest

# The life of a certificate, also of one that asks for a longer one, and the shortest, seconds.
DURATION, _SHORTEST = 365 * 86400, 600
# For machines whose clocks are behind.
_SKEW = datetime.timedelta(minutes=5)


def ready(csr: CertificateSigningRequest) -> bool:
    """Whether the request is to be signed, by us, now."""
    refused = csr.has("Denied") or csr.has("Failed")
    return csr.spec.signer_name in SIGNERS and csr.has("Approved") and not refused and not csr.status.certificate


def sign(
    csr: CertificateSigningRequest, wanted: Wanted, authority: Authority, now: datetime.datetime
) -> x509.Certificate:
    """The certificate: subject and alternative names as asked, usages as approved, life as asked but for limits."""
    seconds = min(max(csr.spec.expiration_seconds or DURATION, _SHORTEST), DURATION)
    end = min(now + datetime.timedelta(seconds=seconds), authority.certificate.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(wanted.request.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(wanted.request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_purposes(csr), critical=False)
        .add_extension(_issuer(authority.certificate), critical=False)
    )
    usage = _key_usage(csr)
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    for extension in wanted.request.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            builder = builder.add_extension(extension.value, critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def _key_usage(csr: CertificateSigningRequest) -> x509.KeyUsage | None:
    """None where the request names no use of the key: it is then not restricted, rather than good for nothing."""
    usages = csr.spec.usages
    if not {"digital signature", "key encipherment"} & set(usages):
        return None
    return x509.KeyUsage(
        digital_signature="digital signature" in usages, key_encipherment="key encipherment" in usages,
        content_commitment=False, data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _purposes(csr: CertificateSigningRequest) -> x509.ExtendedKeyUsage:
    known = {"client auth": ExtendedKeyUsageOID.CLIENT_AUTH, "server auth": ExtendedKeyUsageOID.SERVER_AUTH}
    return x509.ExtendedKeyUsage([oid for usage, oid in known.items() if usage in csr.spec.usages])


def _issuer(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


class CertificateSigningController:
    """Keys are names of requests."""

    name = "certificatesigningrequest-signing-controller"
    workers = 1

    def __init__(self, context: Context, authority: Authority) -> None:
        self._context, self._authority = context, authority
        self._requests = context.watch(CERTIFICATE_SIGNING_REQUESTS)
        self._client = context.client.of(CERTIFICATE_SIGNING_REQUESTS)

    async def reconcile(self, key: Key) -> After | None:
        csr = self._requests.get(key)
        if csr is None or not ready(csr) or not self._authority.signs:
            return None
        try:
            wanted = parse(csr.spec.request)
            why = problem(csr, wanted)
        except ValueError as error:
            why = f"the request cannot be read: {error}"
        found = await current(self._client, csr)
        if found is None:
            # It comes again, as it is by then.
            return None
        status = found.setdefault("status", {})
        if why:
            now = self._context.clock.time()
            status.setdefault("conditions", []).append(condition("Failed", "SignerValidationFailure", why, now))
        else:
            made = await asyncio.to_thread(sign, csr, wanted, self._authority, utc(self._context.clock))
            status["certificate"] = b64encode(made.public_bytes(Encoding.PEM)).decode()
        await self._client.update(found, subresource="status")
        return None
