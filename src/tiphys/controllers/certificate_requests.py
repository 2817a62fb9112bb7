"""What is in a CertificateSigningRequest, and what each of the built-in signers demands of it.

Source: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from tiphys.api.errors import NotFound
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.client.client import ResourceClient
from tiphys.kinds.certificates.certificatesigningrequest import CertificateSigningRequest

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING)
NODE_PREFIX, NODES_GROUP = "system:node:", "system:nodes"
_MIN_RSA_BITS = 2048
_KEY_USAGES = frozenset({"digital signature", "key encipherment"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the certificate is to say, by the PKCS#10 request."""

    request: x509.CertificateSigningRequest
    common_name: str
    organizations: Sequence[str]
    dns: Sequence[str]
    addresses: Sequence[str]
    # Whether it asks for e-mail addresses, URIs or other names.
    others: bool

    @property
    def node(self) -> str:
        """The node that it is for, empty if it is for none."""
        return self.common_name.removeprefix(NODE_PREFIX) if self.common_name.startswith(NODE_PREFIX) else ""


def parse(pem: bytes) -> Wanted:
    """Raises ValueError for what is no request."""
    request = x509.load_pem_x509_csr(pem)
    try:
        names: x509.SubjectAlternativeName | Sequence[x509.GeneralName] = request.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        names = ()
    found = list(names)
    dns = [name.value for name in found if isinstance(name, x509.DNSName)]
    addresses = [str(name.value) for name in found if isinstance(name, x509.IPAddress)]
    name = next(iter(_subject(request, NameOID.COMMON_NAME)), "")
    others = len(found) > len(dns) + len(addresses)
    return Wanted(request, name, _subject(request, NameOID.ORGANIZATION_NAME), dns, addresses, others)


def _subject(request: x509.CertificateSigningRequest, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(name.value) for name in request.subject.get_attributes_for_oid(oid)]


def problem(csr: CertificateSigningRequest, wanted: Wanted) -> str:
    """Why the signer that the request names may not sign it; empty if it may."""
    usages = frozenset(csr.spec.usages)
    key = wanted.request.public_key()
    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        return f"an RSA key of {key.key_size} bits is too short: {_MIN_RSA_BITS} are needed"
    purpose = "server auth" if csr.spec.signer_name == KUBELET_SERVING else "client auth"
    if purpose not in usages:
        return f"usages must include {purpose!r}"
    if usages - _KEY_USAGES - {purpose}:
        return f"usages may be 'digital signature', 'key encipherment' and {purpose!r} only"
    if csr.spec.signer_name == CLIENT:
        return ""
    if list(wanted.organizations) != [NODES_GROUP]:
        return f"the subject's organization must be {NODES_GROUP!r} and nothing else"
    if not wanted.node:
        return f"the subject's common name must be {NODE_PREFIX!r} and the name of a node"
    if wanted.others:
        return "e-mail addresses and URIs are not allowed among the subject's alternative names"
    named = bool(wanted.dns or wanted.addresses)
    if csr.spec.signer_name == KUBELET_CLIENT and named:
        return "DNS names and addresses are not allowed in a client's certificate"
    if csr.spec.signer_name == KUBELET_SERVING and not named:
        return "at least one DNS name or address is needed in a server's certificate"
    return ""


async def current(client: ResourceClient[CertificateSigningRequest], csr: CertificateSigningRequest) -> Json | None:
    """The whole request as it is on the server, to be updated; None if it is not any more what was decided about."""
    try:
        found = await client.get_json(csr.metadata.name)
    except NotFound:
        return None
    return found if found["metadata"]["resourceVersion"] == csr.metadata.resource_version else None


def condition(kind: str, reason: str, message: str, now: float) -> Json:
    moment = rfc3339(now)
    return {
        "type": kind, "status": "True", "reason": reason, "message": message, "lastUpdateTime": moment,
        "lastTransitionTime": moment,
    }  # fmt: skip
