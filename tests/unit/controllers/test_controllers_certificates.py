"""Certificate requests: who is given a certificate without asking people, what it says, and when requests go."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from certificates import authority, issued, request
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiphys.api.http import User
from tiphys.base.clock import settle, utc
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcess
from tiphys.controllers.certificate_approving import CertificateApprovingController
from tiphys.controllers.certificate_cleaner import CertificateCleanerController
from tiphys.controllers.certificate_signing import CertificateSigningController
from tiphys.kinds.certificates.certificatesigningrequest import CERTIFICATE_SIGNING_REQUESTS as CSRS

NETWORKS = [ipaddress.ip_network("10.42.0.0/16"), ipaddress.ip_network("10.43.0.0/16")]
BOOTSTRAPPER = User("system:bootstrap:abcdef", groups=("system:bootstrappers", "system:authenticated"))
NODES = ["system:nodes"]
API = "192.0.2.1"


def node_user(name: str) -> User:
    return User(f"system:node:{name}", groups=("system:nodes", "system:authenticated"))


@pytest.fixture
def running(cluster: Any, tmp_path: Path) -> Any:
    """The cluster with all three controllers."""
    ca = authority(tmp_path, ["kubernetes", API])
    cluster.authority = ca
    cluster.start(CertificateApprovingController, ca, NETWORKS)
    cluster.start(CertificateSigningController, ca)
    cluster.start(CertificateCleanerController)
    return cluster


async def asked(cluster: Any, user: User, csr: dict[str, Any]) -> dict[str, Any]:
    """Ask for a certificate as `user`; the request once it is signed."""
    name = await ask(cluster, user, csr)

    async def signed() -> Any:
        found = await cluster.get(CSRS, name)
        return found if found.get("status", {}).get("certificate") else None

    found: dict[str, Any] = await cluster.until(signed, "signed")
    return found


async def ask(cluster: Any, user: User, csr: dict[str, Any]) -> str:
    client = Client(InProcess(cluster.transport._handler, user, "test"), manager="test")
    made = await client.of(CSRS).create(csr)
    return made.metadata.name


async def left_pending(cluster: Any, user: User, csr: dict[str, Any]) -> None:
    """Ask, and then for something that is approved by the same worker: what came before was looked at by then."""
    name = await ask(cluster, user, csr)
    await asked(cluster, node_user("probe"), request("kube-apiserver-client-kubelet", "system:node:probe", NODES))
    assert not (await cluster.get(CSRS, name)).get("status")


async def test_a_machine_with_a_bootstrap_token_becomes_a_node(running: Any) -> None:
    csr = await asked(running, BOOTSTRAPPER, request("kube-apiserver-client-kubelet", "system:node:a", NODES))
    assert csr["status"]["conditions"][0]["reason"] == "AutoApproved"
    made = issued(csr)
    made.verify_directly_issued_by(running.authority.certificate)
    (name,) = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "system:node:a"
    purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (made.not_valid_after_utc - utc(running.clock)).days == 365


async def test_a_node_renews_its_own_certificate_but_not_another_nodes(running: Any) -> None:
    await asked(running, node_user("a"), request("kube-apiserver-client-kubelet", "system:node:a", NODES))
    await left_pending(running, node_user("a"), request("kube-apiserver-client-kubelet", "system:node:b", NODES))


@pytest.mark.parametrize(
    ("name", "organizations", "names", "usages"),
    [
        ("system:node:a", ["system:nodes", "system:masters"], (), ()),
        ("system:node:a", ["system:masters"], (), ()),
        ("system:node:", NODES, (), ()),
        ("admin", NODES, (), ()),
        ("system:node:a", NODES, ("a",), ()),
        ("system:node:a", NODES, (), ("digital signature", "client auth", "server auth")),
        ("system:node:a", NODES, (), ("digital signature", "server auth")),
    ],
)
async def test_what_is_no_kubelets_request_is_left_to_people(
    running: Any, name: str, organizations: list[str], names: tuple[str, ...], usages: tuple[str, ...]
) -> None:
    csr = request("kube-apiserver-client-kubelet", name, organizations, names, usages=usages)
    await left_pending(running, BOOTSTRAPPER, csr)


async def test_who_has_no_right_to_it_is_not_approved(running: Any) -> None:
    jane = User("system:jane", groups=("system:authenticated", "system:masters-of-nothing"))
    await running.client.transport.send(
        "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        body=b'{"metadata":{"name":"jane"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole",'
        b'"name":"system:node-bootstrapper"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User",'
        b'"name":"system:jane"}]}',
    )  # fmt: skip
    await left_pending(running, jane, request("kube-apiserver-client-kubelet", "system:node:a", NODES))


async def test_a_node_gets_a_serving_certificate_for_itself_before_and_after_it_registers(running: Any) -> None:
    first = request("kubelet-serving", "system:node:a", NODES, ("a", "192.0.2.10"))
    made = issued(await asked(running, node_user("a"), first))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a"]
    assert [str(value) for value in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.10"]
    await running.add_node("a", status={"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]})
    await asked(running, node_user("a"), first)


@pytest.mark.parametrize(
    "name",
    [
        "b",
        "web.shop.svc",
        "192.0.2.20",
        API,
        "kubernetes",
        "10.43.0.1",
        "10.42.3.4",
        "127.0.0.1",
        "example.com",
        "https://192.0.2.10",
    ],
)
async def test_a_node_gets_no_certificate_for_what_is_not_its_own(running: Any, name: str) -> None:
    await running.add_node("b", status={"addresses": [{"type": "InternalIP", "address": "192.0.2.20"}]})
    await left_pending(running, node_user("a"), request("kubelet-serving", "system:node:a", NODES, ("a", name)))


async def test_a_registered_node_gets_no_certificate_for_an_address_that_it_does_not_have(running: Any) -> None:
    await running.add_node("a", status={"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]})
    csr = request("kubelet-serving", "system:node:a", NODES, ("a", "192.0.2.11"))
    await left_pending(running, node_user("a"), csr)


async def test_a_node_asks_in_its_own_name_only(running: Any) -> None:
    csr = request("kubelet-serving", "system:node:b", NODES, ("b",))
    await left_pending(running, node_user("a"), csr)
    await left_pending(running, BOOTSTRAPPER, csr)


async def test_approved_by_hand_it_is_signed_and_lives_as_long_as_asked(running: Any) -> None:
    root = User("root", groups=("system:masters", "system:authenticated"))
    name = await ask(running, root, request("kube-apiserver-client", "jane", ["dev"], seconds=7200))
    assert not (await running.get(CSRS, name)).get("status")
    found = await running.get(CSRS, name)
    now = "2026-01-01T00:00:00Z"
    condition = {"type": "Approved", "status": "True", "reason": "ByHand", "lastUpdateTime": now}
    found["status"] = {"conditions": [condition]}
    await running.client.of(CSRS).update(found, subresource="approval")

    async def signed() -> Any:
        return (await running.get(CSRS, name))["status"].get("certificate")

    await running.until(signed)
    made = issued(await running.get(CSRS, name))
    assert made.not_valid_after_utc - utc(running.clock) == datetime.timedelta(hours=2)


async def test_what_a_signer_must_not_sign_fails_though_approved(running: Any) -> None:
    root = User("root", groups=("system:masters", "system:authenticated"))
    name = await ask(running, root, request("kubelet-serving", "system:node:a", ["system:masters"], ("a",)))
    found = await running.get(CSRS, name)
    found["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "ByHand"}]}
    await running.client.of(CSRS).update(found, subresource="approval")

    async def failed() -> Any:
        return [c for c in (await running.get(CSRS, name))["status"]["conditions"] if c["type"] == "Failed"]

    (condition,) = await running.until(failed)
    assert condition["reason"] == "SignerValidationFailure"
    assert "organization" in condition["message"]
    assert "certificate" not in (await running.get(CSRS, name))["status"]


async def test_a_signer_of_somebody_elses_is_left_alone(running: Any) -> None:
    csr = request("kube-apiserver-client", "jane")
    csr["spec"]["signerName"] = "example.com/mine"
    root = User("root", groups=("system:masters", "system:authenticated"))
    name = await ask(running, root, csr)
    found = await running.get(CSRS, name)
    found["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "ByHand"}]}
    await running.client.of(CSRS).update(found, subresource="approval")
    await left_pending(running, node_user("a"), request("kube-apiserver-client-kubelet", "system:node:b", NODES))
    assert set((await running.get(CSRS, name))["status"]) == {"conditions"}


async def test_requests_go_after_an_hour_or_pending_ones_after_a_day(running: Any) -> None:
    done = await asked(running, node_user("a"), request("kube-apiserver-client-kubelet", "system:node:a", NODES))
    pending = await ask(running, BOOTSTRAPPER, request("kube-apiserver-client", "jane"))
    await running.clock.advance(3590)
    assert await running.get(CSRS, done["metadata"]["name"])
    await running.clock.advance(20)
    await running.gone(CSRS, done["metadata"]["name"])
    await running.clock.advance(86400 - 3700)
    await settle()
    assert await running.get(CSRS, pending)
    await running.clock.advance(200)
    await running.gone(CSRS, pending)
