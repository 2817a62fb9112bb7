"""The cluster's arrays: what counts where as nodes and pods come, change and go."""

from __future__ import annotations

from scheduler_objects import cluster, container, info, node, pod

from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.pod import CPU, MEMORY, PODS, PodInfo, amount, pod_requests


def requested(of: Cluster, name: str, resource: str) -> int:
    row = of.row(name)
    assert row is not None
    return int(of.requested[row, of.columns[resource]])


def allocatable(of: Cluster, name: str, resource: str) -> int:
    row = of.row(name)
    assert row is not None
    return int(of.allocatable[row, of.columns[resource]])


class TestNodes:
    def test_resources_are_numbers(self) -> None:
        made = cluster(node("a", cpu="1500m", memory="1Gi", allocatable={"x.io/gpu": "2"}))
        assert [allocatable(made, "a", name) for name in (CPU, MEMORY, PODS, "x.io/gpu")] == [1500, 2**30, 110, 2]

    def test_a_resource_that_a_node_no_longer_has_is_gone(self) -> None:
        made = cluster(node("a", allocatable={"x.io/gpu": "2"}))
        made.set_node(node("a"))
        assert allocatable(made, "a", "x.io/gpu") == 0

    def test_a_new_state_keeps_what_is_requested(self) -> None:
        made = cluster(node("a"))
        made.place(info(cpu="1"), "a")
        made.set_node(node("a", cpu="8"))
        assert (allocatable(made, "a", CPU), requested(made, "a", CPU)) == (8000, 1000)

    def test_the_row_of_a_removed_node_starts_empty_for_the_next(self) -> None:
        made = cluster(node("a", allocatable={"x.io/gpu": "2"}))
        made.place(info(cpu="1", containers=[{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]), "a")
        row = made.row("a")
        made.remove_node("a")
        made.set_node(node("b"))
        assert made.row("b") == row
        assert made.row("a") is None
        assert requested(made, "b", PODS) == 0
        assert allocatable(made, "b", "x.io/gpu") == 0
        entry = made.rows[row or 0]
        assert entry is not None
        assert not made.ports
        assert not entry.pods
        assert len(made) == 1

    def test_removing_twice_or_an_unknown_node_changes_nothing(self) -> None:
        made = cluster(node("a"), node("b"))
        made.remove_node("a")
        made.remove_node("a")
        made.remove_node("never")
        made.set_node(node("c"))
        made.set_node(node("d"))
        assert {made.row(name) for name in "bcd"} == {0, 1, 2}

    def test_removing_a_node_gives_back_its_pods(self) -> None:
        made = cluster(node("a"))
        made.place(info("p"), "a")
        made.place(info("q"), "a")
        assert {gone.pod.metadata.name for gone in made.remove_node("a")} == {"p", "q"}

    def test_more_nodes_than_the_arrays_had_rows(self) -> None:
        made = cluster(*(node(f"n{number}", cpu=str(number + 1)) for number in range(200)))
        assert [allocatable(made, f"n{number}", CPU) for number in (0, 64, 199)] == [1000, 65000, 200000]
        assert int(made.live.sum()) == len(made) == 200

    def test_amounts_beyond_any_machine_do_not_overflow(self) -> None:
        made = cluster(node("a", cpu="8E", memory="8E"))
        for number in range(4):
            made.place(info(f"p{number}", cpu="8E", memory="9223372036854775807"), "a")
        assert requested(made, "a", CPU) > 0
        assert requested(made, "a", MEMORY) > 0


class TestPods:
    def test_placing_and_removing_counts_and_uncounts(self) -> None:
        made = cluster(node("a"))
        assert made.place(info(cpu="250m", memory="64Mi"), "a")
        assert (requested(made, "a", CPU), requested(made, "a", MEMORY), requested(made, "a", PODS)) == (250, 2**26, 1)
        assert made.remove_pod("default/p")
        assert not made.remove_pod("default/p")
        assert not made.requested.any()
        assert not made.scored.any()

    def test_placing_again_counts_once(self) -> None:
        made = cluster(node("a"))
        made.place(info(cpu="1"), "a")
        made.place(info(cpu="1"), "a")
        assert requested(made, "a", CPU) == 1000

    def test_a_pod_moves(self) -> None:
        made = cluster(node("a"), node("b"))
        made.place(info(cpu="1"), "a")
        made.place(info(cpu="1"), "b")
        assert (requested(made, "a", CPU), requested(made, "b", CPU)) == (0, 1000)

    def test_a_pod_of_an_unknown_node_is_not_counted(self) -> None:
        made = cluster(node("a"))
        made.place(info(cpu="1"), "a")
        assert not made.place(info(cpu="1"), "later")
        assert requested(made, "a", CPU) == 0
        assert made.placed("default/p") is None

    def test_a_resized_pod_is_counted_anew(self) -> None:
        made = cluster(node("a"))
        made.place(info(cpu="1"), "a")
        made.place(info(cpu="3"), "a")
        assert requested(made, "a", CPU) == 3000

    def test_a_resize_between_containers_leaves_no_score_behind(self) -> None:
        made = cluster(node("a"))
        made.place(info(containers=[container("x", cpu="1"), container("y")]), "a")
        made.place(info(containers=[container("x", cpu="500m"), container("y", cpu="500m")]), "a")
        made.remove_pod("default/p")
        assert not made.scored.any()

    def test_another_pod_of_the_same_name_replaces_the_first(self) -> None:
        made = cluster(node("a"))
        made.place(info(uid="1", cpu="1"), "a")
        made.place(info(uid="2", cpu="2"), "a")
        assert (requested(made, "a", CPU), requested(made, "a", PODS)) == (2000, 1)

    def test_a_resource_nobody_has_makes_a_column_when_a_pod_that_runs_asks_for_it(self) -> None:
        made = cluster(node("a"))
        made.place(PodInfo(pod(containers=[container(**{"x.io/gpu": "3"})])), "a")
        assert requested(made, "a", "x.io/gpu") == 3
        assert allocatable(made, "a", "x.io/gpu") == 0


class TestRequests:
    def test_units(self) -> None:
        assert amount("cpu", "1") == 1000
        assert amount("cpu", "0.0001") == 1
        assert amount("memory", "1Ki") == 1024
        assert amount("memory", "1500m") == 2

    def test_containers_add_up(self) -> None:
        assert pod_requests(pod(containers=[container(cpu="1"), container("d", cpu="500m", memory="1Mi")])) == {
            "cpu": 1500, "memory": 2**20,
        }  # fmt: skip

    def test_init_containers_run_one_after_another(self) -> None:
        init = [container("i", cpu="2"), container("j", cpu="3", memory="1Ki")]
        assert pod_requests(pod(cpu="1", memory="2Ki", initContainers=init)) == {"cpu": 3000, "memory": 2048}

    def test_sidecars_run_beside_what_follows(self) -> None:
        sidecar = {**container("s", cpu="1"), "restartPolicy": "Always"}
        assert pod_requests(pod(cpu="1", initContainers=[container("i", cpu="3"), sidecar])) == {"cpu": 3000}
        assert pod_requests(pod(cpu="1", initContainers=[sidecar, container("i", cpu="3")])) == {"cpu": 4000}
        assert pod_requests(pod(cpu="5", initContainers=[sidecar, container("i", cpu="3")])) == {"cpu": 6000}

    def test_overhead_comes_on_top_of_the_larger(self) -> None:
        init = [container("i", cpu="2")]
        assert pod_requests(pod(cpu="1", initContainers=init, overhead={"cpu": "250m"})) == {"cpu": 2250}

    def test_what_the_pod_itself_requests_stands_for_its_containers(self) -> None:
        whole = pod(
            cpu="1", memory="1Ki", resources={"requests": {"cpu": "2"}}, overhead={"cpu": "100m"},
        )  # fmt: skip
        assert pod_requests(whole) == {"cpu": 2100, "memory": 1024}

    def test_scoring_assumes_something_of_every_container_that_says_nothing(self) -> None:
        assert info().scored == (100, 200 * 2**20)
        sidecar = {**container("s"), "restartPolicy": "Always"}
        assert info(cpu="1", initContainers=[sidecar]).scored == (1100, 400 * 2**20)

    def test_a_container_that_requests_nothing_explicitly_is_taken_at_its_word(self) -> None:
        assert info(cpu="0", memory="0").scored == (0, 0)

    def test_host_ports_of_init_containers_that_end_do_not_count(self) -> None:
        ports = [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2}]
        ends = {"name": "i", "ports": ports}
        stays = {"name": "s", "ports": [{"containerPort": 1, "hostPort": 81, "hostIP": "10.0.0.1"}]}
        made = info(initContainers=[ends, {**stays, "restartPolicy": "Always"}])
        assert made.ports == (("10.0.0.1", "TCP", 81),)
