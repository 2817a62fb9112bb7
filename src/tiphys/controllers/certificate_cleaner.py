"""Removes certificate requests that have had their time: decided ones after an hour, pending ones after a day.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#request-signing-process
"""

from __future__ import annotations

from cryptography import x509

from tiphys.api import time
from tiphys.api.errors import NotFound
from tiphys.api.meta import Key
from tiphys.controllers.base import After, Context
from tiphys.kinds.certificates.certificatesigningrequest import CERTIFICATE_SIGNING_REQUESTS, CertificateSigningRequest

DECIDED_SECONDS, PENDING_SECONDS = 3600.0, 86400.0


def removal(csr: CertificateSigningRequest) -> float:
    """When the request is to be removed, unix seconds: by its decision, or when its certificate has expired."""
    created = time.seconds(csr.metadata.creation_timestamp)
    decided = [condition for condition in csr.status.conditions if condition.type in ("Approved", "Denied", "Failed")]
    if not decided:
        return created + PENDING_SECONDS
    latest = max(time.seconds(c.last_update_time) if c.last_update_time else created for c in decided)
    if any(condition.type == "Approved" for condition in decided) and not csr.status.certificate:
        if csr.has("Failed"):
            return latest + DECIDED_SECONDS
        # Approved, but its signer, who may not be one of ours, has not come to it.
        return latest + PENDING_SECONDS
    return min(latest + DECIDED_SECONDS, _expiry(csr))


def _expiry(csr: CertificateSigningRequest) -> float:
    try:
        return x509.load_pem_x509_certificate(csr.status.certificate).not_valid_after_utc.timestamp()
    except ValueError:
        return float("inf")


class CertificateCleanerController:
    """Keys are names of requests."""

    name = "certificatesigningrequest-cleaner-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._requests = context.watch(CERTIFICATE_SIGNING_REQUESTS)
        self._client = context.client.of(CERTIFICATE_SIGNING_REQUESTS)

    async def reconcile(self, key: Key) -> After | None:
        csr = self._requests.get(key)
        if csr is None:
            return None
        left = removal(csr) - self._context.clock.time()
        if left > 0:
            return After(left)
        try:
            await self._client.delete(csr.metadata, unchanged=True)
        except NotFound:
            return None
        return None
