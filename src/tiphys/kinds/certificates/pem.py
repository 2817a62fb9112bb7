"""Blocks of PEM and the certificates in them, as upstream's validation reads them."""

from __future__ import annotations

import re
from binascii import a2b_base64
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_BLOCK = re.compile(r"-----BEGIN ([^\n]*?)-----[ \t\r]*\n((?:[^\n:]+:[^\n]*\n)*)([^-]*)-----END \1-----")


class Block(NamedTuple):
    type: str
    headers: bool
    der: bytes


def blocks(text: str) -> list[Block]:
    """What is not a block is skipped."""
    found = []
    for match in _BLOCK.finditer(text):
        try:
            found.append(Block(match[1], bool(match[2]), a2b_base64(match[3])))
        except ValueError:
            continue
    return found


def certificate(der: bytes) -> Certificate | None:
    from cryptography import x509  # few requests are about certificates

    try:
        return x509.load_der_x509_certificate(der)
    except ValueError:
        return None


def is_authority(cert: Certificate) -> bool:
    from cryptography import x509

    try:
        return bool(cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def certificate_problem(text: str) -> str | None:
    """What is wrong with a chain of certificates."""
    found = blocks(text)
    for block in found:
        if block.type != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{block.type}"'
        if block.headers:
            return "no PEM block headers are permitted"
        if certificate(block.der) is None:
            return "x509: malformed certificate"
    return None if found else "must contain at least one CERTIFICATE PEM block"


def request_problem(text: str) -> str | None:
    """What is wrong with a PKCS#10 request; it must be signed by its own key."""
    found = blocks(text)
    if not found or found[0].type != "CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        request = x509.load_der_x509_csr(found[0].der)
        return None if request.is_signature_valid else "x509: signature verification failure"
    except UnsupportedAlgorithm:
        return "x509: cannot verify signature: algorithm unimplemented"
    except ValueError:
        return "x509: malformed certificate request"


def bundle_problems(text: str) -> list[str]:
    """What is wrong with a bundle of authorities."""
    problems, places = [], dict[bytes, list[int]]()
    for index, block in enumerate(blocks(text)):
        if block.type != "CERTIFICATE":
            problems.append(f"entry {index} has bad block type: {block.type}")
            continue
        if block.headers:
            problems.append(f"entry {index} has PEM block headers")
            continue
        cert = certificate(block.der)
        if cert is None:
            problems.append(f"entry {index} does not parse as X.509")
        elif not is_authority(cert):
            problems.append(f"entry {index} does not have the CA bit set")
        else:
            places.setdefault(block.der, []).append(index)
    if problems:
        return problems
    if not places:
        return ["at least one trust anchor must be provided"]
    twice = [found for found in places.values() if len(found) > 1]
    return [f"duplicate trust anchor (indices [{' '.join(map(str, found))}])" for found in twice]
