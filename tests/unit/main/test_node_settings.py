"""The nodes of a cluster on one machine: nothing of one is another's, and a cluster grows but does not shrink."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tiphys.main import cluster as module
from tiphys.main.cluster import MAX_NODES, Cluster, ClusterError
from tiphys.main.node import containerd_of
from tiphys.main.node_settings import link_name, node_of, nodes_of
from tiphys.main.up import leaves


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_STATE", "_RUN", "_ETC"):
        monkeypatch.setattr(module, name, tmp_path / name.strip("_").lower())
    monkeypatch.setattr(module, "host_address", lambda: "192.0.2.7")
    def free_port(first: int, used: set[int], count: int = 1) -> int:
        return next(p for p in range(first, 65536) if p not in used)

    monkeypatch.setattr(module, "_free_port", free_port)


def test_nodes_share_nothing_but_the_cluster() -> None:
    cluster = Cluster("demo")
    nodes = nodes_of(cluster, cluster.create(12))
    own = ("number", "name", "address", "client", "serving", "state", "run", "cgroup_root", "network_namespace")
    for field in own:
        assert len({getattr(node, field) for node in nodes}) == len(nodes), field
    for role in ("agent", "server", "etcd"):
        assert len({node.pidfile(role) for node in nodes}) == len({node.log(role) for node in nodes}) == len(nodes)
    shared = [f.name for f in dataclasses.fields(nodes[0]) if f.name not in (*own, "servers", "control_plane")]
    for field in shared:
        assert len({getattr(node, field) for node in nodes}) == 1, field
    assert nodes[0].network_namespace == ""
    assert [node.servers for node in nodes[:2]] == [("https://127.0.0.1:6443",), ("https://10.41.0.1:6443",)]


def test_the_first_node_is_as_in_a_cluster_of_one() -> None:
    one, many = Cluster("one"), Cluster("many")
    alone, first = node_of(one, one.create(), 1), node_of(many, many.create(3), 1)
    assert alone.run == one.run
    assert alone.state == one.state
    assert alone.cgroup_root == "/tiphys-one"
    assert (first.name, first.address, first.client) == (alone.name, alone.address, alone.client)


def test_names_are_short_enough_for_the_kernel() -> None:
    cluster = Cluster("c" * 30)
    node = node_of(cluster, cluster.create(MAX_NODES), MAX_NODES)
    socket = f"/run/tiphys/{cluster.name}/nodes/{MAX_NODES}/containerd/containerd.sock.ttrpc"
    assert containerd_of(node).config.socket.relative_to(cluster.run).as_posix() in socket
    assert len(socket) < 108
    assert max(len(link_name(role, cluster.name)) for role in ("b", "x", str(MAX_NODES))) <= 15
    assert len({link_name(role, name) for role in ("b", "x", "2") for name in ("a", "b")}) == 6


def test_a_node_is_not_called_like_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.socket, "gethostname", lambda: "demo-2")
    cluster = Cluster("demo")
    assert [node.name for node in nodes_of(cluster, cluster.create(3))] == ["demo-2", "demo-2-node", "demo-3"]


def test_a_cluster_grows_and_keeps_its_number() -> None:
    cluster = Cluster("demo")
    assert cluster.create().nodes == 1
    assert cluster.create(3).nodes == 3
    assert cluster.create().nodes == 3
    assert cluster.settings().nodes == 3
    with pytest.raises(ClusterError, match=r"'demo' has 3 nodes, and `up` takes none away.*tiphys node remove"):
        cluster.create(2)
    assert cluster.settings().nodes == 3


def test_a_machine_without_a_default_route_is_found_on_the_nodes_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "host_address", lambda: "127.0.0.1")
    several, alone = Cluster("several"), Cluster("alone")
    assert several.create(2).address == str(several.settings().underlay[1])
    assert alone.create().address == "127.0.0.1"
    with pytest.raises(ClusterError, match="had no default route"):
        alone.create(2)


def test_networks_of_clusters_and_nodes_do_not_overlap() -> None:
    found = []
    for name in ("a", "b", "c"):
        settings = Cluster(name).create(2)
        found += [settings.pods, settings.services, settings.underlay]
    assert not any(one.overlaps(other) for one in found for other in found if one is not other)


def test_clusters_that_are_made_at_once_share_no_number() -> None:
    names = [f"c{number}" for number in range(12)]
    with ThreadPoolExecutor(len(names)) as pool:
        made = list(pool.map(lambda name: Cluster(name).create(), names))
    assert len({settings.index for settings in made}) == len(names)
    assert len({port for settings in made for port in settings.ports}) == 2 * len(names)


def test_every_node_has_certificates_in_its_own_name() -> None:
    cluster = Cluster("demo")
    settings = cluster.create(2)
    nodes = nodes_of(cluster, settings)
    made = leaves(settings, nodes)
    for node in nodes:
        assert made[node.client].common_name == f"system:node:{node.name}"
        assert made[node.client].organizations == ["system:nodes"]
        assert {node.name, node.address} <= set(made[node.serving].names)
    assert str(settings.underlay[1]) in made["server"].names


def test_control_planes_are_the_first_nodes_and_every_node_knows_them_all() -> None:
    cluster = Cluster("demo")
    settings = cluster.create(5, None, 3)
    assert settings.store == "etcd"
    nodes = nodes_of(cluster, settings)
    assert [node.control_plane for node in nodes] == [True, True, True, False, False]
    assert all(len(node.servers) == 3 for node in nodes)
    assert nodes[0].servers[0] == f"https://127.0.0.1:{settings.api_port}"
    for node in nodes[1:3]:
        assert node.servers[0] == node.url
    # Workers do not all go to the same one first.
    assert nodes[3].servers[0] != nodes[4].servers[0]
    assert settings.virtual_address in settings.server_url


def test_a_node_that_was_removed_comes_back_when_so_many_are_asked_for() -> None:
    cluster = Cluster("demo")
    settings = cluster.create(5, None, 3)
    cluster.save(msgspec.structs.replace(settings, removed=[2, 4]))
    assert cluster.create().numbers == [1, 3, 5]
    assert cluster.create().planes == [1, 3]
    assert cluster.create(control_planes=3).numbers == [1, 2, 3, 5]
    assert cluster.create(5).numbers == [1, 2, 3, 4, 5]
    assert cluster.create(6).numbers == [1, 2, 3, 4, 5, 6]


def test_several_control_planes_need_etcd() -> None:
    cluster = Cluster("demo")
    assert cluster.create().store == "sqlite"
    with pytest.raises(ClusterError, match="store migrate demo --to etcd"):
        cluster.create(control_planes=3)


def test_a_machine_that_joined_is_one_node() -> None:
    cluster = Cluster("demo")
    cluster.save(msgspec.structs.replace(cluster.create(), joined=True, control_planes=0, servers=["https://a:6443"]))
    (node,) = nodes_of(cluster, cluster.create())
    assert not node.control_plane
    assert node.servers == ("https://a:6443",)
    with pytest.raises(ClusterError, match="tiphys token create"):
        cluster.create(2)
