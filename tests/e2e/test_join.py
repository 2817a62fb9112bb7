"""Machines join a cluster with a token: what they get, what those are told who may not, and that it can be repeated."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from joinable import Joinable, joinable, machine

from tiphys.api.bootstrap_tokens import CONTROL_PLANE
from tiphys.api.time import rfc3339
from tiphys.base.clock import SystemClock
from tiphys.client.client import Client
from tiphys.client.http import Https
from tiphys.kinds.certificates.certificatesigningrequest import CERTIFICATE_SIGNING_REQUESTS
from tiphys.kinds.core.node import NODES
from tiphys.main import join
from tiphys.main.cluster import Cluster, ClusterError
from tiphys.main.join import join_control_plane, join_worker, joined
from tiphys.main.leaf import leaf_of
from tiphys.main.pki import Pki

HERE = {"name": "second", "address": "192.0.2.10"}


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Joinable]:
    async with joinable(tmp_path) as made:
        yield made


@pytest.fixture
def here(tmp_path: Path) -> Cluster:
    return machine(tmp_path / "here")


def as_node(there: Joinable, here: Cluster) -> Client:
    transport = Https([there.url], Pki(here.pki).client_tls("agent"), agent="test")
    return Client(transport, manager="test")


async def test_a_machine_becomes_a_node(there: Joinable, here: Cluster) -> None:
    made = await join_worker(there.url, str(await there.token()), here, **HERE)
    assert (made.name, made.facts.name, made.facts.index) == ("second", "demo", 7)
    assert made.facts.pods == "10.56.0.0/16"
    assert made.facts.servers == [there.url]
    assert leaf_of(Pki(here.pki).read("kubelet")).names == ["second", "192.0.2.10"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in here.pki.iterdir())
    files = {"ca.crt", "agent.crt", "agent.key", "kubelet.crt", "kubelet.key"}
    assert {path.name for path in here.pki.iterdir()} == files
    client = as_node(there, here)
    await client.of(NODES).create({"metadata": {"name": "second"}})
    await client.close()


async def test_who_has_joined_goes_on_without_asking_anybody(there: Joinable, here: Cluster) -> None:
    made = await join_worker(there.url, str(await there.token()), here, **HERE)
    before = {path.name: path.read_bytes() for path in here.pki.iterdir()}
    nowhere = "https://127.0.0.1:1"
    assert await join_worker(nowhere, "", here, **HERE) == made == joined(here)
    assert {path.name: path.read_bytes() for path in here.pki.iterdir()} == before
    with pytest.raises(ClusterError, match=r"is node 'second' of cluster 'demo' already, not 'third'"):
        await join_worker(nowhere, "", here, name="third", address="192.0.2.10")


async def test_a_machine_that_was_interrupted_goes_on_where_it_was(there: Joinable, here: Cluster) -> None:
    token = str(await there.token())
    await join_worker(there.url, token, here, **HERE)
    client = Pki(here.pki).read("agent")
    (here.state / "joined.json").unlink()
    Pki(here.pki).certificate("kubelet").unlink()
    await join_worker(there.url, token, here, **HERE)
    assert Pki(here.pki).read("agent") == client
    assert Pki(here.pki).read("kubelet")


class Later(SystemClock):
    """After a year, when what was signed has expired."""

    def time(self) -> float:
        return super().time() + 366 * 86400


async def test_a_node_whose_certificate_has_expired_is_told_to_join_again(there: Joinable, here: Cluster) -> None:
    await join_worker(there.url, str(await there.token()), here, **HERE)
    with pytest.raises(ClusterError, match=r"certificate of node 'second' does not hold.*tiphys token create"):
        await join_worker(there.url, "", here, **HERE, clock=Later())
    join.check(here)
    with pytest.raises(ClusterError, match=r"tiphys token create"):
        join.check(here, Later())


async def test_a_node_that_slept_through_a_new_ca_joins_again_with_a_new_token(here: Cluster, tmp_path: Path) -> None:
    async with joinable(tmp_path / "before") as before:
        old = str(await before.token())
        made = await join_worker(before.url, old, here, **HERE)
    files = {path.name: path.read_bytes() for path in here.pki.iterdir()}
    async with joinable(tmp_path / "after") as after:
        new = str(await after.token())
        # The old token tells nothing, nor does nobody who answers; it goes on with what it has.
        assert await join_worker(after.url, old, here, **HERE) == made
        assert await join_worker("https://127.0.0.1:1", new, here, **HERE) == made
        assert {path.name: path.read_bytes() for path in here.pki.iterdir()} == files
        await join_worker(after.url, new, here, **HERE)
        for name in ("agent", "kubelet"):
            Pki(here.pki).read(name).verify_directly_issued_by(after.pki.read("ca"))


async def test_with_its_own_certificate_a_node_gets_its_servers_without_a_token(there: Joinable, here: Cluster) -> None:
    made = await join_worker(there.url, str(await there.token()), here, **HERE)
    Pki(here.pki).certificate("kubelet").unlink()
    assert await join_worker(there.url, "", here, **HERE) == made
    assert Pki(here.pki).read("kubelet")


class Off(SystemClock):
    def time(self) -> float:
        return super().time() - 3600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"secret": "f" * 16}, r"does not accept token abcdef: its secret is wrong"),
        ({"id": "zzzzzz"}, r"does not accept token zzzzzz: it has expired, was deleted, or never was"),
        ({"pin": "0" * 64}, r"is not the one that the token is for.*the token expects 0000"),
    ],
)
async def test_a_token_that_is_wrong_is_refused_with_what_is_wrong(
    there: Joinable, here: Cluster, change: dict[str, str], message: str
) -> None:
    token = replace(await there.token(), **change)
    with pytest.raises(ClusterError, match=message):
        await join_worker(there.url, str(token), here, **HERE)
    assert not here.state.exists()


async def test_an_expired_token_is_refused(there: Joinable, here: Cluster) -> None:
    await there.token("valid0")
    token = await there.token(seconds=-5)
    with pytest.raises(ClusterError, match=r"token abcdef: it has expired.*tiphys token create"):
        await join_worker(there.url, str(token), here, **HERE)


async def test_the_url_of_another_cluster_is_refused(there: Joinable, here: Cluster, tmp_path: Path) -> None:
    token = await there.token()
    async with joinable(tmp_path / "other") as other:
        await other.token()
        with pytest.raises(ClusterError, match="is not the one that the token is for"):
            await join_worker(other.url, str(token), here, **HERE)
    assert not here.state.exists()


async def test_who_shows_the_right_ca_without_having_its_key_learns_nothing(
    there: Joinable, here: Cluster, tmp_path: Path
) -> None:
    token = await there.token()
    async with joinable(tmp_path / "other") as other:
        # Publishes the true cluster's signed information, but has a certificate of its own only.
        other.authority.replace(there.pki.ca.read_text(), b"", ())
        await other.token("fedcba")
        with pytest.raises(ClusterError, match="does not prove that it is the cluster's"):
            await join_worker(other.url, str(token), here, **HERE)
    assert not here.state.exists()


async def test_a_clock_that_is_off_is_refused(there: Joinable, here: Cluster) -> None:
    token = str(await there.token())
    with pytest.raises(ClusterError, match=r"clock is 3[56]\d\d s behind that of https://127.*NTP"):
        await join_worker(there.url, token, here, **HERE, clock=Off())


async def test_what_is_no_token_no_url_or_no_server_is_refused(there: Joinable, here: Cluster) -> None:
    token = str(await there.token())
    with pytest.raises(ClusterError, match="this is no join token"):
        await join_worker(there.url, token.partition(":")[0], here, **HERE)
    with pytest.raises(ClusterError, match="is no URL of an API server"):
        await join_worker("192.0.2.1:6443", token, here, **HERE)
    with pytest.raises(ClusterError, match=r"no API server answers at https://127\.0\.0\.1:1 "):
        await join_worker("https://127.0.0.1:1", token, here, **HERE)


def node(name: str, machine_id: str, ready: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {
        "nodeInfo": {"machineID": machine_id, "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                     "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "",
                     "operatingSystem": "linux", "architecture": ""},
        "conditions": [{"type": "Ready", "status": ready}],
        "addresses": [{"type": "InternalIP", "address": "192.0.2.10"}],
    }}  # fmt: skip


async def test_a_name_that_another_machine_has_is_refused_unless_that_one_is_gone(
    there: Joinable, here: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "machine-id").write_text("mine\n")
    monkeypatch.setattr(join, "_MACHINE_ID", tmp_path / "machine-id")
    token = str(await there.token())
    nodes = there.client.of(NODES)
    made = await nodes.create(node("second", "others", "True"))
    with pytest.raises(ClusterError, match=r"has a node 'second' \(192.0.2.10\), which is Ready and another machine"):
        await join_worker(there.url, token, here, **HERE)
    assert not here.state.exists()
    status = node("second", "others", "Unknown")["status"]
    await nodes.patch(made.metadata, {"status": {"conditions": status["conditions"]}}, subresource="status")
    await join_worker(there.url, token, here, **HERE)


async def test_a_machine_may_join_again_under_its_own_name(
    there: Joinable, here: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "machine-id").write_text("mine\n")
    monkeypatch.setattr(join, "_MACHINE_ID", tmp_path / "machine-id")
    await there.client.of(NODES).create(node("second", "mine", "True"))
    await join_worker(there.url, str(await there.token()), here, **HERE)


async def test_an_address_of_somebody_elses_is_left_to_people_who_are_named(there: Joinable, here: Cluster) -> None:
    await there.client.of(NODES).create(node("other", "others", "True"))
    token = str(await there.token())
    with pytest.raises(
        ClusterError, match=r"request csr-\w+ was not approved in 1 s.*kubectl certificate approve csr-"
    ):
        await join_worker(there.url, token, here, **HERE, patience=1)


async def test_what_was_approved_meanwhile_is_found_when_one_begins_again(there: Joinable, here: Cluster) -> None:
    await there.client.of(NODES).create(node("other", "others", "True"))
    requests, token = there.client.of(CERTIFICATE_SIGNING_REQUESTS), str(await there.token())
    for _ in range(2):
        with pytest.raises(ClusterError, match="was not approved in 1 s"):
            await join_worker(there.url, token, here, **HERE, patience=1)
    listed, _ = await requests.list(fieldSelector="spec.signerName=kubernetes.io/kubelet-serving")
    (asked,) = listed
    found = await requests.get_json(asked.metadata.name)
    found["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "ByHand"}]}
    await requests.update(found, subresource="approval")
    await join_worker(there.url, token, here, **HERE)
    assert leaf_of(Pki(here.pki).read("kubelet")).names == ["second", "192.0.2.10"]


async def test_approved_by_hand_it_goes_on(there: Joinable, here: Cluster) -> None:
    await there.client.of(NODES).create(node("other", "others", "True"))
    requests = there.client.of(CERTIFICATE_SIGNING_REQUESTS)
    token = str(await there.token())

    async def by_hand() -> None:
        async with requests.watch(fieldSelector="spec.signerName=kubernetes.io/kubelet-serving") as events:
            async for _, data in events:
                found = await requests.get_json(orjson.loads(data)["metadata"]["name"])
                condition = {"type": "Approved", "status": "True", "reason": "ByHand",
                             "lastUpdateTime": rfc3339(there.clock.time())}  # fmt: skip
                found["status"] = {"conditions": [condition]}
                await requests.update(found, subresource="approval")
                return

    await asyncio.gather(by_hand(), join_worker(there.url, token, here, **HERE))
    assert leaf_of(Pki(here.pki).read("kubelet")).names == ["second", "192.0.2.10"]


async def test_a_control_plane_gets_the_keys_of_the_cas(tmp_path: Path, here: Cluster) -> None:
    entered: list[Any] = []

    async def enter(facts: Any) -> None:
        assert Pki(here.pki).issuers().keys() == {"ca", "etcd-ca", "front-proxy-ca"}
        entered.append(facts)

    async with joinable(tmp_path, store="etcd") as there:
        token = str(await there.token(groups=CONTROL_PLANE))
        made = await join_control_plane(there.url, token, here, **HERE, enter=enter)
        assert made.control_plane
        assert entered == [made.facts]
        assert Pki(here.pki).shared() == there.pki.shared()
        assert all(path.stat().st_mode & 0o077 == 0 for path in here.pki.iterdir())
        assert await join_control_plane("https://127.0.0.1:1", "", here, **HERE) == made


async def test_a_nodes_token_does_not_open_the_keys(tmp_path: Path, here: Cluster) -> None:
    async with joinable(tmp_path, store="etcd") as there:
        with pytest.raises(ClusterError, match="token abcdef is for nodes, not for control planes"):
            await join_control_plane(there.url, str(await there.token()), here, **HERE)
    assert not here.state.exists()


async def test_a_second_control_plane_needs_etcd(there: Joinable, here: Cluster) -> None:
    with pytest.raises(ClusterError, match=r"keeps its state in sqlite.*tiphys store migrate demo --to etcd"):
        await join_control_plane(there.url, str(await there.token(groups=CONTROL_PLANE)), here, **HERE)


async def test_what_is_sent_to_a_control_plane_is_sealed_besides_tls(tmp_path: Path) -> None:
    async with joinable(tmp_path, store="etcd") as there:
        token = await there.token(groups=CONTROL_PLANE)
        tls = ssl.create_default_context(cafile=str(there.pki.ca))
        headers = {"Authorization": f"Bearer {token.bearer}"}
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
            session.get(f"{there.url}/tiphys/v1/control-plane-bundle", headers=headers) as answer,
        ):
            body = await answer.read()
        assert answer.status == 200
        assert b"PRIVATE" not in body
        assert b"LS0tLS" not in body  # how base64 of PEM begins
