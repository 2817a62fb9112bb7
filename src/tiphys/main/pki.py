"""The cluster's own PKI: one CA, certificates for servers and clients, the key of service-account tokens.

Everything is ECDSA P-256; private keys are readable by root only. Source, for names and groups:
https://kubernetes.io/docs/setup/best-practices/certificates/
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiphys.main.cluster import write_private

_CA_DAYS, _LEAF_DAYS = 3650, 365
# Certificates begin a little before they are made, for machines whose clocks are behind.
_SKEW = datetime.timedelta(minutes=5)
Key = ec.EllipticCurvePrivateKey
# The name by which the API server passes requests on, and of the files of its certificate.
FRONT_PROXY = "front-proxy-client"


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a certificate says; `names` are its DNS names and addresses, empty for clients."""

    common_name: str
    organizations: Sequence[str] = ()
    names: Sequence[str] = ()


Leaves = Mapping[str, Leaf]


class Pki:
    """The files under one directory: `ca.crt`, `ca.key`, NAME.crt, NAME.key, `sa.key`; `front-proxy-*` likewise."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def front_proxy_ca(self) -> Path:
        """The CA of one certificate, the front proxy's: extension API servers believe whoever shows it."""
        return self.directory / "front-proxy-ca.crt"

    def certificate(self, name: str) -> Path:
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def ensure(self, cluster: str, leaves: Leaves, others: Mapping[str, Leaves] | None = None) -> None:
        """Make what is missing: the CA, the token key and a certificate for each leaf; `others` are of CAs by name."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        front_proxy = {FRONT_PROXY: Leaf(FRONT_PROXY)}
        for ca, wanted in {"ca": leaves, "front-proxy-ca": front_proxy, **(others or {})}.items():
            if not self.certificate(ca).exists():
                self._make_ca(cluster, ca)
            missing = {name: leaf for name, leaf in wanted.items() if not self.certificate(name).exists()}
            if missing:
                self._make_leaves(missing, ca)
        if not self.key("sa").exists():
            write_private(self.key("sa"), _pem(_new_key()))

    def _make_leaves(self, leaves: Leaves, ca: str) -> None:
        authority = x509.load_pem_x509_certificate(self.certificate(ca).read_bytes())
        signer = load_key(self.key(ca))
        for name, leaf in leaves.items():
            self._make_leaf(name, leaf, authority, signer)

    def _make_ca(self, cluster: str, called: str) -> None:
        key = _new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tiphys-{called}-{cluster}")])
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        made = (
            _builder(name, name, key, _CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(self.key(called), _pem(key))
        write_private(self.certificate(called), made.public_bytes(serialization.Encoding.PEM))

    def _make_leaf(self, name: str, leaf: Leaf, authority: x509.Certificate, signer: Key) -> None:
        key = _new_key()
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in leaf.organizations]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, leaf.common_name))
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if leaf.names:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            _builder(x509.Name(subject), authority.subject, key, _LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        )
        if leaf.names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(map(_general, leaf.names))), critical=False
            )
        made = builder.sign(signer, hashes.SHA256())
        write_private(self.key(name), _pem(key))
        write_private(self.certificate(name), made.public_bytes(serialization.Encoding.PEM))

    def server_tls(self, name: str, *, client: ssl.VerifyMode = ssl.CERT_OPTIONAL) -> ssl.SSLContext:
        """The context of a server that shows NAME and takes client certificates of this CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate(name), self.key(name))
        context.load_verify_locations(self.ca)
        context.verify_mode = client
        return context

    def client_tls(self, name: str, ca: str = "ca") -> ssl.SSLContext:
        """The context of a client that shows NAME and trusts servers of a CA."""
        context = ssl.create_default_context(cafile=os.fspath(self.certificate(ca)))
        context.load_cert_chain(self.certificate(name), self.key(name))
        return context


def load_key(path: Path) -> Key:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds a {type(key).__name__}; an ECDSA key is needed")
    return key


def _new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC) - _SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
