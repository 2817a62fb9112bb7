"""Asks the cluster for a certificate: a CertificateSigningRequest, and a watch until it is decided and signed.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from base64 import b64encode
from contextlib import suppress

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tiphys.api.errors import AlreadyExists, ApiError
from tiphys.base.backoff import Backoff
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.transport import Unreachable
from tiphys.controllers.certificate_requests import KUBELET_CLIENT, KUBELET_SERVING
from tiphys.kinds.certificates.certificatesigningrequest import CERTIFICATE_SIGNING_REQUESTS, CertificateSigningRequest
from tiphys.main.cluster import ClusterError
from tiphys.main.leaf import Key, Leaf, make_request

_log = Log("join")
_BACKOFF = Backoff(0.1, 5.0)
PATIENCE = 300.0


async def signed(client: Client, leaf: Leaf, key: Key, patience: float = PATIENCE, *, resume: bool = False) -> bytes:
    """A kubelet's certificate in PEM: for its server if `leaf` has names, else for its client.

    Waits for as long as people may need who approve by hand, `patience` seconds. With `resume`, a request of the last
    hour for the same is gone on with. Raises ClusterError where it is denied or nobody decides, ApiError and
    Unreachable where it cannot be asked for.
    """
    serving = bool(leaf.names)
    spec = {
        "request": b64encode(make_request(leaf, key)).decode(),
        "signerName": KUBELET_SERVING if serving else KUBELET_CLIENT,
        "usages": ["digital signature", "server auth" if serving else "client auth"],
    }  # fmt: skip
    prefix = "csr-" if serving else "node-csr-"
    name = prefix + (_digest(leaf, key) if resume else secrets.token_hex(5))
    with suppress(AlreadyExists):
        await client.of(CERTIFICATE_SIGNING_REQUESTS).create({"metadata": {"name": name}, "spec": spec})
    _log.info("asked for a certificate", request=name, subject=leaf.common_name, serving=serving)
    try:
        async with asyncio.timeout(patience):
            return await _decided(client, name)
    except TimeoutError:
        raise ClusterError(
            f"certificate request {name} was not approved in {patience:.0f} s; `kubectl get csr {name}` on a control "
            f"plane shows it, `kubectl certificate approve {name}` approves it; then begin again here"
        ) from None


def _digest(leaf: Leaf, key: Key) -> str:
    """The same for the same wish of the same machine."""
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    said = [leaf.common_name, *leaf.organizations, "", *leaf.names]
    return hashlib.sha256(public + "\0".join(said).encode()).hexdigest()[:20]


async def _decided(client: Client, name: str) -> bytes:
    """Watch until there is a certificate, from wherever the watch broke off."""
    failures = 0
    while True:
        try:
            async with client.of(CERTIFICATE_SIGNING_REQUESTS).watch(fieldSelector=f"metadata.name={name}") as events:
                async for kind, data in events:
                    if kind == "DELETED":
                        raise ClusterError(f"certificate request {name} was deleted before it was signed; begin again")
                    found = _certificate(msgspec.json.decode(data, type=CertificateSigningRequest))
                    if found:
                        return found
        except (ApiError, Unreachable) as error:
            _log.warning("the watch of a certificate request broke", request=name, error=str(error))
        await asyncio.sleep(_BACKOFF.delay(failures))
        failures += 1


def _certificate(csr: CertificateSigningRequest) -> bytes:
    for condition in csr.status.conditions:
        if condition.type in ("Denied", "Failed"):
            why = f"{condition.reason}: {condition.message}".strip(": ")
            raise ClusterError(
                f"certificate request {csr.metadata.name} was {condition.type.lower()} ({why}); ask whoever runs the "
                "cluster"
            )
    return csr.status.certificate
