"""Keys, requests and a CA for tests about certificates."""

from __future__ import annotations

import ipaddress
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tiphys.controllers.authority import Authority
from tiphys.main.pki import Pki

USAGES = ("digital signature", "key encipherment")


def authority(directory: Path, reserved: Sequence[str] = ()) -> Authority:
    pki = Pki(directory)
    pki.ensure("test", {})
    return Authority(pki.ca.read_text(), pki.key("ca").read_bytes(), reserved)


def request(
    signer: str, name: str, organizations: Sequence[str] = (), names: Sequence[str] = (), *, seconds: int | None = None,
    usages: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """A CertificateSigningRequest."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    purpose = "server auth" if signer == "kubelet-serving" else "client auth"
    spec: dict[str, Any] = {
        "request": b64encode(made.public_bytes(Encoding.PEM)).decode(), "signerName": f"kubernetes.io/{signer}",
        "usages": list(usages or (*USAGES, purpose)),
    }  # fmt: skip
    if seconds:
        spec["expirationSeconds"] = seconds
    return {"metadata": {"generateName": "csr-"}, "spec": spec}


def issued(csr: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(b64decode(csr["status"]["certificate"]))


def _general(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
