"""The files of certificates: what is wrong or due is made again, what is good stays, and contexts follow the files."""

from __future__ import annotations

import datetime
import ssl
import time
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography import x509

from tiphys.main.leaf import Issuer, Leaf, leaf_of, make_leaf, new_key, pem, pins_of, renewal_time
from tiphys.main.pki import FRONT_PROXY, Pki, load_key, pin_of
from tiphys.server.aggregation import client as aggregation
from tiphys.server.aggregation.client import AggregationClient, Identity

LEAVES = {"server": Leaf("kube-apiserver", names=["localhost", "127.0.0.1", "::1"]), "admin": Leaf("root", ["masters"])}


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = Pki(tmp_path / "pki")
    made.ensure("demo", LEAVES)
    return made


def files(pki: Pki) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in pki.directory.iterdir()}


def test_what_is_good_stays_as_it_is(pki: Pki) -> None:
    before = files(pki)
    pki.ensure("demo", LEAVES)
    assert files(pki) == before
    assert all(path.stat().st_mode & 0o077 == 0 for path in pki.directory.iterdir())


def test_a_server_with_another_address_gets_a_certificate_for_it_and_nothing_else_changes(pki: Pki) -> None:
    before = files(pki)
    pki.ensure("demo", {**LEAVES, "server": Leaf("kube-apiserver", names=["127.0.0.1", "localhost", "192.0.2.9"])})
    assert "192.0.2.9" in leaf_of(pki.read("server")).names
    after = files(pki)
    assert {name for name in after if after[name] != before[name]} == {"server.crt"}


def test_an_expired_certificate_and_one_that_soon_will_be_are_made_again(pki: Pki) -> None:
    for age in (datetime.timedelta(days=400), datetime.timedelta(days=260)):
        then = time.time() - age.total_seconds()
        pki.issue("admin", LEAVES["admin"], pki.issuers()["ca"], then)
        old = pki.read("admin")
        pki.ensure("demo", LEAVES)
        assert pki.read("admin").not_valid_after_utc > old.not_valid_after_utc


def test_a_certificate_of_another_ca_or_key_is_made_again(pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    other.ensure("demo", LEAVES)
    pki.certificate("admin").write_bytes(other.certificate("admin").read_bytes())
    pki.key("server").write_bytes(pem(new_key()))
    pki.ensure("demo", LEAVES)
    authority = pki.read("ca")
    for name in LEAVES:
        pki.read(name).verify_directly_issued_by(authority)
        assert pki.read(name).public_key() == load_key(pki.key(name)).public_key()


def test_a_file_that_is_no_certificate_is_made_again(pki: Pki) -> None:
    pki.certificate("server").write_bytes(b"")
    pki.key("admin").write_bytes(b"garbage")
    pki.ensure("demo", LEAVES)
    assert pki.read("server").not_valid_after_utc
    assert pki.read("admin").public_key() == load_key(pki.key("admin")).public_key()


def test_renewal_is_about_two_thirds_into_a_life_and_not_the_same_for_all(pki: Pki) -> None:
    issuer = pki.issuers()["ca"]
    now = 1_700_000_000.0
    made = [make_leaf(Leaf("a"), new_key(), issuer, now) for _ in range(20)]
    shares = [(renewal_time(each) - each.not_valid_before_utc.timestamp()) / (365 * 86400) for each in made]
    assert all(0.6 <= share <= 0.7 for share in shares)
    assert len({round(share, 3) for share in shares}) > 5


def test_no_certificate_outlives_its_ca(pki: Pki) -> None:
    issuer = pki.issuers()["ca"]
    late = issuer.certificate.not_valid_after_utc.timestamp() - 86400
    assert make_leaf(Leaf("a"), new_key(), issuer, late).not_valid_after_utc == issuer.certificate.not_valid_after_utc


def test_a_bundle_is_pinned_by_the_one_that_signs(pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    other.ensure("demo", {})
    bundle = pki.ca.read_bytes() + other.ca.read_bytes()
    assert pin_of(bundle) == pin_of(pki.ca.read_bytes())
    assert pins_of(bundle) == [pin_of(pki.ca.read_bytes()), pin_of(other.ca.read_bytes())]


def shown(server: ssl.SSLContext, client: ssl.SSLContext) -> x509.Certificate:
    """The certificate that a handshake between the two shows to the client; raises SSLError where it fails."""
    found = handshake(server, client)[0].getpeercert(binary_form=True)
    assert found
    return x509.load_der_x509_certificate(found)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> list[ssl.SSLObject]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends


def test_contexts_show_a_renewed_certificate_to_new_connections(pki: Pki) -> None:
    server, client = pki.server_tls("server"), pki.client_tls("admin")
    before = shown(server, client)
    issuer = pki.issuers()["ca"]
    for name, leaf in LEAVES.items():
        pki.issue(name, leaf, issuer)
    assert shown(server, client) == before
    assert pki.reload() == []
    assert shown(server, client) == pki.read("server") != before


def test_contexts_trust_a_ca_that_was_added(pki: Pki, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other")
    other.ensure("demo", LEAVES)
    server, client = pki.server_tls("server"), other.client_tls("admin")
    with pytest.raises(ssl.SSLError):
        shown(server, client)
    other.ca.write_bytes(other.ca.read_bytes() + pki.ca.read_bytes())
    pki.ca.write_bytes(pki.ca.read_bytes() + other.ca.read_bytes())
    other.reload()
    pki.reload()
    assert shown(server, client) == pki.read("server")
    # And forget one that is no longer there.
    pki.ca.write_bytes(pem(pki.read("ca")))
    pki.reload()
    with pytest.raises(ssl.SSLError):
        shown(server, client)


def test_protocols_that_a_library_sets_outlive_a_reload(pki: Pki) -> None:
    server, client = pki.server_tls("server"), pki.client_tls("admin")
    for context in (server, client):
        context.set_alpn_protocols(["h2"])
    pki.reload()
    assert [end.selected_alpn_protocol() for end in handshake(server, client)] == ["h2", "h2"]


def test_a_reload_says_what_could_not_be_read_and_keeps_what_was(pki: Pki) -> None:
    server, client = pki.server_tls("server"), pki.client_tls("admin")
    before = pki.read("server")
    pki.certificate("server").write_bytes(b"garbage")
    assert pki.reload() == ["server"]
    assert shown(server, client) == before


def test_the_front_proxy_shows_a_renewed_certificate(pki: Pki) -> None:
    identity = Identity(pki.certificate(FRONT_PROXY), pki.key(FRONT_PROXY))
    client = AggregationClient(identity)
    bundle = b64encode(pki.ca.read_bytes()).decode()
    context = client.context(aggregation.Server((), "localhost", bundle))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki.certificate("server"), pki.key("server"))
    server.load_verify_locations(pki.front_proxy_ca)
    server.verify_mode = ssl.CERT_REQUIRED

    def serial() -> int:
        found = handshake(server, context)[1].getpeercert(binary_form=True)
        assert found
        return x509.load_der_x509_certificate(found).serial_number

    before = serial()
    pki.issue(FRONT_PROXY, Leaf(FRONT_PROXY), pki.issuers()["front-proxy-ca"])
    assert serial() == before
    client.reload()
    assert serial() == pki.read(FRONT_PROXY).serial_number != before


def test_an_issuer_is_a_ca_whose_key_is_here(pki: Pki) -> None:
    assert {*pki.issuers()} == {"ca", "front-proxy-ca"}
    pki.key("ca").unlink()
    assert {*pki.issuers()} == {"front-proxy-ca"}
    assert isinstance(pki.issuers()["front-proxy-ca"], Issuer)
