"""Certificates as values: what one says, how one is made and read, and when it is to be renewed. Knows no files.

Everything is ECDSA P-256.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey
CA_DAYS, LEAF_DAYS = 3650, 365
# Certificates begin a little before they are made, for machines whose clocks are behind.
_SKEW = datetime.timedelta(minutes=5)
# The part of its life after which one is renewed; which part exactly, each certificate says by its number, so that
# those of one hour are not renewed in one second.
_RENEWED, _SPREAD = 0.6, 0.1


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a certificate says; `names` are its DNS names and addresses, empty for clients."""

    common_name: str
    organizations: Sequence[str] = ()
    names: Sequence[str] = ()

    def same(self, other: Leaf) -> bool:
        """Whether both say the same, in whatever order."""
        return (
            self.common_name == other.common_name
            and set(self.organizations) == set(other.organizations)
            and set(map(_canonical, self.names)) == set(map(_canonical, other.names))
        )


Leaves = Mapping[str, Leaf]


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA that can sign."""

    certificate: x509.Certificate
    key: Key


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def pem(thing: Key | x509.Certificate) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(Encoding.PEM)
    return thing.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def key_of(data: bytes, whence: object = "the key") -> Key:
    key = serialization.load_pem_private_key(data, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{whence} holds a {type(key).__name__}; an ECDSA key is needed")
    return key


def fits(certificate: x509.Certificate, key: Key) -> bool:
    """Whether the certificate is of this key."""
    return _spki(certificate) == key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def pin_of(bundle: bytes) -> str:
    """The SHA-256 in hex of the public key of the first certificate in PEM."""
    return pins_of(bundle)[0]


def pins_of(bundle: bytes) -> list[str]:
    """As `pin_of`, of every certificate. Raises ValueError for what is no PEM."""
    return [hashlib.sha256(_spki(each)).hexdigest() for each in x509.load_pem_x509_certificates(bundle)]


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def made_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def leaf_of(certificate: x509.Certificate) -> Leaf:
    """What a certificate says."""

    def values(oid: x509.ObjectIdentifier) -> list[str]:
        return [str(found.value) for found in certificate.subject.get_attributes_for_oid(oid)]

    try:
        names = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = []
    name = next(iter(values(NameOID.COMMON_NAME)), "")
    return Leaf(name, values(NameOID.ORGANIZATION_NAME), [str(found.value) for found in names])


def renewal_time(certificate: x509.Certificate) -> float:
    """When the certificate is to be renewed, unix seconds: about two thirds into its life."""
    begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    return begin + (end - begin) * (_RENEWED + _SPREAD * (certificate.serial_number % 1000) / 1000)


def make_ca(name: str, key: Key, now: float) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    begin = _moment(now)
    return (
        _builder(subject, key, begin, begin + datetime.timedelta(days=CA_DAYS))
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def make_leaf(leaf: Leaf, key: Key, issuer: Issuer, now: float) -> x509.Certificate:
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if leaf.names:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    begin = _moment(now)
    end = min(begin + datetime.timedelta(days=LEAF_DAYS), issuer.certificate.not_valid_after_utc)
    builder = (
        _builder(_subject(leaf), key, begin, end)
        .issuer_name(issuer.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    if leaf.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(_generals(leaf)), critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def make_request(leaf: Leaf, key: Key) -> bytes:
    """A PKCS#10 request, in PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(leaf))
    if leaf.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(_generals(leaf)), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _subject(leaf: Leaf) -> x509.Name:
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in leaf.organizations]
    return x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, leaf.common_name)])


def _builder(subject: x509.Name, key: Key, begin: datetime.datetime, end: datetime.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _moment(now: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(now, datetime.UTC) - _SKEW


def _generals(leaf: Leaf) -> list[x509.GeneralName]:
    return list(map(_general, leaf.names))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _canonical(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
