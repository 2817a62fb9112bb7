"""Requests for certificates and bundles of authorities that are wrong, and what upstream says of each."""

import datetime
from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tiphys.kinds.certificates.certificatesigningrequest import CERTIFICATE_SIGNING_REQUESTS
from tiphys.kinds.certificates.clustertrustbundle import CLUSTER_TRUST_BUNDLES
from tiphys.kinds.certificates.podcertificaterequest import POD_CERTIFICATE_REQUESTS

Json = dict[str, Any]
KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])


def encoded(pem: bytes | str) -> str:
    return b64encode(pem if isinstance(pem, bytes) else pem.encode()).decode()


def request_pem() -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(NAME)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM)


def certificate_pem(*, ca: bool) -> str:
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = (
        x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(KEY.public_key()).serial_number(1)
        .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )  # fmt: skip
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def csr(**spec: Any) -> Json:
    request = encoded(request_pem())
    return {"spec": {"request": request, "signerName": "example.com/signer", "usages": ["client auth"], **spec}}


BROKEN = encoded("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n")
REQUESTS: list[tuple[Json, list[str]]] = [
    ({}, []),
    ({"request": ""}, ['spec.request: Invalid value: "": PEM block type must be CERTIFICATE REQUEST']),
    ({"request": BROKEN}, [f'spec.request: Invalid value: "{BROKEN}": x509: malformed certificate request']),
    ({"usages": []}, ["spec.usages: Required value"]),
    ({"usages": ["signing", "signing"]}, ['spec.usages[1]: Duplicate value: "signing"']),
    ({"signerName": ""}, ["spec.signerName: Required value"]),
    ({"signerName": "kubernetes.io/legacy-unknown"}, [
        'spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": '
        "the legacy signerName is not allowed via this API version"]),
    ({"signerName": "a/b"}, [
        'spec.signerName: Invalid value: "a": should be a domain with at least two segments separated by dots']),
    ({"expirationSeconds": 599}, [
        "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), REQUESTS)
def test_requests(problems: Any, spec: Json, expected: list[str]) -> None:
    assert problems(CERTIFICATE_SIGNING_REQUESTS, csr(**spec)) == expected


def test_usages_are_known(problems: Any) -> None:
    (found,) = problems(CERTIFICATE_SIGNING_REQUESTS, csr(usages=["x"]))
    assert found.startswith('spec.usages[0]: Unsupported value: "x": supported values: "any", "cert sign", ')


def decided(*conditions: Json, **status: Any) -> Json:
    return {"metadata": {"name": "a"}, **csr(), "status": {"conditions": list(conditions), **status}}


APPROVED, DENIED = ({"type": kind, "status": "True"} for kind in ("Approved", "Denied"))
DECISIONS: list[tuple[Json, Json, list[str]]] = [
    (decided(), decided(APPROVED, DENIED), [
        'status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive']),
    (decided(), decided({"type": "Approved", "status": "False"}, {"status": "x"}), [
        'status.conditions[0].status: Unsupported value: "False": supported values: "True"',
        "status.conditions[1].type: Required value",
        'status.conditions[1].status: Unsupported value: "x": supported values: "False", "True", "Unknown"']),
    (decided(APPROVED), decided(), [
        'status.conditions: Forbidden: updates may not remove a condition of type "Approved"']),
    (decided(), decided(certificate=encoded("x")), [
        'status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block']),
    (decided(), decided(certificate=encoded(request_pem())), [
        'status.certificate: Invalid value: "<certificate data>": '
        'only CERTIFICATE PEM blocks are allowed, found "CERTIFICATE REQUEST"']),
    (decided(certificate=encoded("x")), decided(certificate=encoded("y")), [
        "status.certificate: Forbidden: updates may not modify existing certificate content"]),
    (decided(), decided(certificate=encoded(certificate_pem(ca=False))), []),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), DECISIONS)
def test_decisions(old: Json, new: Json, expected: list[str]) -> None:
    assert [str(error) for error in CERTIFICATE_SIGNING_REQUESTS.strategy.validate(new, old)] == expected


def test_a_request_stays_as_it_was_asked(update_problems: Any) -> None:
    assert update_problems(CERTIFICATE_SIGNING_REQUESTS, csr(), lambda new: new["spec"].update(usages=["x"])) == []


AUTHORITY = certificate_pem(ca=True)
BUNDLES: list[tuple[str, str, str, list[str]]] = [
    ("a", "", AUTHORITY, []),
    ("x.io:y:a", "x.io/y", AUTHORITY, []),
    ("a", "x.io/y", AUTHORITY, [
        'metadata.name: Invalid value: "a": '
        "ClusterTrustBundle for signerName x.io/y must be named with prefix x.io:y:"]),
    ("a", "", "", ["at least one trust anchor must be provided"]),
    ("a", "", certificate_pem(ca=False), ["entry 0 does not have the CA bit set"]),
    ("a", "", AUTHORITY + AUTHORITY, ["duplicate trust anchor (indices [0 1])"]),
    ("a", "", request_pem().decode(), ["entry 0 has bad block type: CERTIFICATE REQUEST"]),
    ("a", "", AUTHORITY.replace("E-----\n", "E-----\nA: b\n\n", 1), ["entry 0 has PEM block headers"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "signer", "bundle", "expected"), BUNDLES)
def test_bundles(problems: Any, name: str, signer: str, bundle: str, expected: list[str]) -> None:
    obj = {"metadata": {"name": name}, "spec": {"signerName": signer, "trustBundle": bundle}}
    omitted = 'spec.trustBundle: Invalid value: "<value omitted>": '
    told = [text if text.startswith("metadata") else omitted + text for text in expected]
    assert problems(CLUSTER_TRUST_BUNDLES, obj) == told


POD_REQUEST = {
    "signerName": "x.io/y", "podName": "p", "podUID": "1", "serviceAccountName": "s", "serviceAccountUID": "2",
    "nodeName": "n", "nodeUID": "3", "maxExpirationSeconds": 3600,
}  # fmt: skip


def test_requests_of_pods(problems: Any) -> None:
    wrong = {**POD_REQUEST, "podUID": "", "signerName": "kubernetes.io/y", "maxExpirationSeconds": 86401}
    assert problems(POD_CERTIFICATE_REQUESTS, {"spec": POD_REQUEST}) == []
    found = problems(POD_CERTIFICATE_REQUESTS, {"spec": wrong})
    assert found[0] == 'spec.podUID: Invalid value: "": must not be empty'
    assert found[-1] == "spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]"


def test_a_pods_request_is_decided_once() -> None:
    def one(*kinds: str) -> Json:
        time = "2026-01-01T00:00:00Z"
        base = {"status": "True", "reason": "A", "message": "", "lastTransitionTime": time}
        return {"spec": POD_REQUEST, "status": {"conditions": [{**base, "type": kind} for kind in kinds]}}

    def said(new: Json, old: Json) -> list[str]:
        return [str(error) for error in POD_CERTIFICATE_REQUESTS.strategy.validate(new, old)]

    assert said(one("Denied"), one()) == []
    assert said(one("Denied", "Failed"), one()) == [
        'status.conditions.[1].type: Invalid value: "Failed": '
        'There may be at most one condition with type "Issued", "Denied", or "Failed"'
    ]
    (found,) = said(one("Failed"), one("Denied"))
    assert found.endswith(": immutable after PodCertificateRequest is issued, denied, or failed")
