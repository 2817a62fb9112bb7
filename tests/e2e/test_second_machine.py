"""A real cluster and a second machine: how it joins, and that certificates are renewed and replaced under both."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from real_cluster import IMAGE, TIPHYS, RealCluster, build_image, leftovers, started, until
from second_machine import Machine, second_machine

from tiphys.main.leaf import Leaf, leaf_of, made_by, make_request, new_key, pem, pin_of
from tiphys.main.pki import Pki

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with started("join", image=tmp_path_factory.mktemp("image")) as made:
        yield made


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with second_machine(tmp_path) as made:
        yield made


def join_words(first: RealCluster, *words: str) -> list[str]:
    """What follows `tiphys agent` in the command that is printed."""
    printed = first.tiphys("token", "create", first.name, "--print-join-command", *words).split()
    assert printed[:2] == ["tiphys", "agent"]
    return printed[2:]


def pki_of(first: RealCluster) -> Pki:
    return Pki(Path(f"/var/lib/tiphys/{first.name}/pki"))


def far_pki(machine: Machine) -> Pki:
    return Pki(machine.base / f"var/lib/tiphys/{machine.cluster}/pki")


def is_ready(first: RealCluster, name: str) -> bool:
    nodes = {item["metadata"]["name"]: item for item in first.get("nodes")["items"]}
    conditions = nodes.get(name, {}).get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def place_of(first: RealCluster) -> tuple[str, int]:
    url = json.loads(first.kubectl("config", "view", "-o", "json"))["clusters"][0]["cluster"]["server"]
    host, _, port = url.removeprefix("https://").partition(":")
    return host, int(port)


def served(first: RealCluster) -> x509.Certificate:
    """The certificate that the API server shows at this moment."""
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(place_of(first)).encode())


def trusted(first: RealCluster) -> int:
    """How many CAs the kubeconfig trusts."""
    cluster = json.loads(first.kubectl("config", "view", "--raw", "-o", "json"))["clusters"][0]["cluster"]
    return base64.b64decode(cluster["certificate-authority-data"]).count(b"BEGIN")


def lets_in(first: RealCluster, certificate: Path, key: Path) -> bool:
    """Whether the API server takes a client certificate."""
    context = ssl.create_default_context(cafile=str(pki_of(first).ca))
    context.load_cert_chain(certificate, key)
    connection = http.client.HTTPSConnection(*place_of(first), timeout=10, context=context)
    try:
        connection.request("GET", "/api/v1/nodes")
        return connection.getresponse().status == 200
    except (ssl.SSLError, ConnectionError):
        return False
    finally:
        connection.close()


def test_a_machine_joins_runs_pods_and_comes_back_without_a_token(first: RealCluster, machine: Machine) -> None:
    words = join_words(first)
    with machine.process("agent", *words):
        until(lambda: is_ready(first, machine.name), "the second machine is Ready", 60)
        requests = first.get("csr")["items"]
        asked = {(item["spec"]["username"].partition(":node:")[2], item["spec"]["signerName"]) for item in requests}
        assert (machine.name, "kubernetes.io/kubelet-serving") in asked
        there: Any = SimpleNamespace(name=machine.cluster, tiphys=machine.tiphys)
        (machine.base / "image").mkdir()
        build_image(there, machine.base / "image")
        overrides = json.dumps({"spec": {"nodeName": machine.name, "terminationGracePeriodSeconds": 0}})
        first.kubectl("run", "far", f"--image={IMAGE}", f"--overrides={overrides}", "--restart=Never")
        first.kubectl("wait", "--for=condition=Ready", "pod/far", "--timeout=60s")
        # The server speaks to the kubelet there, and each knows the other by its certificate.
        assert "ready" in first.kubectl("logs", "far")
    with machine.process("agent"):
        until(lambda: first.kubectl("exec", "far", "--", "hostname", check=False).strip() == "far", "its kubelet", 60)
    first.kubectl("delete", "pod", "far", "--wait=false")
    first.kubectl("delete", "node", machine.name)


def test_what_a_token_may_not_do_is_said_and_nothing_is_left(first: RealCluster, machine: Machine) -> None:
    server, url, flag, token = join_words(first)
    words = ["agent", "--cluster", machine.cluster, server, url, flag]
    assert "its secret is wrong" in machine.tiphys(*words, token[:7] + "0" * 16 + token[23:], check=False)
    first.tiphys("token", "delete", token[:6], first.name)
    assert token[:6] not in first.tiphys("token", "list", first.name)
    said = until(lambda: refused(machine, [*words, token], "expired, was deleted"), "the token is not known any more")
    assert "tiphys token create" in said
    assert not far_pki(machine).directory.exists()


def refused(machine: Machine, words: list[str], why: str) -> str:
    said = machine.tiphys(*words, check=False)
    return said if why in said else ""


def test_a_certificate_approved_by_hand_authenticates(first: RealCluster, tmp_path: Path) -> None:
    key = new_key()
    request = base64.b64encode(make_request(Leaf("jane", ["dev"]), key)).decode()
    name = f"jane-{secrets.token_hex(3)}"
    csr = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
                 "expirationSeconds": 3600},
    }  # fmt: skip
    first.kubectl("apply", "-f", "-", stdin=json.dumps(csr))
    first.kubectl("certificate", "approve", name)
    encoded = until(lambda: first.get("csr", name)["status"].get("certificate"), "signed")
    (tmp_path / "crt").write_bytes(base64.b64decode(encoded))
    (tmp_path / "key").write_bytes(pem(key))
    config = json.loads(first.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"][0]["user"] = {"client-certificate": str(tmp_path / "crt"), "client-key": str(tmp_path / "key")}
    (tmp_path / "config").write_text(json.dumps(config))
    who = RealCluster(first.name, tmp_path / "config").kubectl("auth", "whoami")
    assert "jane" in who
    assert "dev" in who


def test_a_renewed_certificate_is_shown_by_the_server_that_runs(first: RealCluster) -> None:
    pki, pid = pki_of(first), first.pid("server")
    before = served(first)
    # Of long ago, so due at once; whoever watches the files renews it and shows what it renewed.
    pki.issue("admin", Leaf("kubernetes-admin", ["system:masters"]), pki.issuers()["ca"], time.time() - 300 * 86400)
    pki.issue("server", leaf_of(pki.read("server")), pki.issuers()["ca"], time.time() - 300 * 86400)
    until(lambda: served(first) == pki.read("server") != before, "the new certificate is shown")
    until(lambda: pki.read("server").not_valid_after_utc > before.not_valid_after_utc, "it was renewed")
    until(lambda: served(first) == pki.read("server"), "the renewed certificate is shown")
    until(lambda: base64.b64encode(pki.certificate("admin").read_bytes()).decode() in first.kubeconfig.read_text(),
          "the kubeconfig has the new certificate")  # fmt: skip
    first.kubectl("get", "nodes")
    assert first.pid("server") == pid


def test_expired_certificates_are_no_obstacle_to_up(first: RealCluster) -> None:
    pki = pki_of(first)
    for role in ("server", "agent"):
        os.kill(first.pid(role), signal.SIGTERM)
    until(lambda: "running" not in state(first), "it has stopped")
    for name in ("server", "server-client", "admin", "agent", "kubelet"):
        pki.issue(name, leaf_of(pki.read(name)), pki.issuers()["ca"], time.time() - 400 * 86400)
    assert '"daysLeft": -' in first.tiphys("certificates", first.name, "-o", "json")
    first.tiphys("up", first.name)
    assert '"daysLeft": -' not in first.tiphys("certificates", first.name, "-o", "json")
    assert first.get("nodes")["items"]


def state(first: RealCluster) -> str:
    (row,) = [row for row in json.loads(first.tiphys("ls", "-o", "json")) if row["name"] == first.name]
    return str(row["state"])


def test_the_ca_is_replaced_under_a_running_cluster(first: RealCluster, machine: Machine) -> None:
    pki, pids = pki_of(first), [first.pid(role) for role in ("server", "agent")]
    old, between = pki.read("ca"), RealCluster(first.name, machine.base / "between.kubeconfig")
    old_admin = [Path(shutil.copy(path, machine.base)) for path in (pki.certificate("admin"), pki.key("admin"))]
    with machine.process("agent", *join_words(first)):
        until(lambda: is_ready(first, machine.name), "the second machine is Ready", 60)
        first.tiphys("certificates", "rotate-ca", first.name)
        assert made_by(served(first), old)
        until(lambda: trusted(first) == 2, "the kubeconfig trusts both")
        shutil.copy(first.kubeconfig, between.kubeconfig)
        first.tiphys("certificates", "rotate-ca", first.name, "--switch")
        new = pki.read("ca")
        assert pin_of(pem(new)) != pin_of(pem(old))
        for each in (pki.read("server"), pki.read("kubelet"), served(first), far_pki(machine).read("agent"),
                     far_pki(machine).read("kubelet")):  # fmt: skip
            assert made_by(each, new)
        # Who has a certificate of the old one is still let in.
        between.kubectl("get", "nodes")
        first.kubectl("get", "nodes")
        first.tiphys("certificates", "rotate-ca", first.name, "--finish")
        until(lambda: len(x509.load_pem_x509_certificates(far_pki(machine).ca.read_bytes())) == 1, "one CA there")
        until(lambda: trusted(first) == 1, "the kubeconfig trusts the new one only")
        assert first.kubectl("auth", "can-i", "get", "nodes").strip() == "yes"
        assert not lets_in(first, *old_admin)
        assert lets_in(first, pki.certificate("admin"), pki.key("admin"))
        until(lambda: is_ready(first, machine.name), "the second machine is Ready still")
        published = first.get("cm", "kube-root-ca.crt")["data"]["ca.crt"]
        assert x509.load_pem_x509_certificates(published.encode()) == [new]
        assert [first.pid(role) for role in ("server", "agent")] == pids
    first.kubectl("delete", "node", machine.name)


def test_a_control_plane_joins_and_has_the_same_cas(machine: Machine) -> None:
    name = f"join-{secrets.token_hex(3)}"
    first = RealCluster(name, Path(f"/etc/tiphys/{name}.kubeconfig"))
    try:
        first.tiphys("up", name, "--store", "etcd")
        printed = first.tiphys("token", "create", name, "--control-plane", "--print-join-command").split()
        assert printed[:3] == ["tiphys", "server", "--join"]
        node_token = join_words(first)[-1]
        said = machine.tiphys("server", "--cluster", machine.cluster, *printed[2:-1], node_token, check=False)
        assert "is for nodes, not for control planes" in said
        assert not far_pki(machine).directory.exists()
        with machine.process("server", *printed[2:]):
            until(lambda: machine.address in first.kubectl("get", "endpoints", "kubernetes"), "it is one of them", 60)
            assert far_pki(machine).shared() == pki_of(first).shared()
            url = f"https://{machine.address}:{place_of(first)[1]}"
            there = first.kubectl("--server", url, "get", "nodes", "-o", "name")
            assert there == first.kubectl("get", "nodes", "-o", "name")
    finally:
        subprocess.run([TIPHYS, "down", name, "--purge"], check=False, timeout=120)
    assert leftovers(name) == []
