"""`tiphys rebalance` against the answers of a server that are written down here: what it does when things go wrong."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from tiphys.cli.errors import CliError, ServerError
from tiphys.kinds.core.pod import Pod
from tiphys.main import rebalance as command
from tiphys.main.rebalancing import Mover
from tiphys.scheduler import config
from tiphys.scheduler.movable import immovable
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.rebalance import Move

Json = dict[str, Any]
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": True}


def node(name: str) -> Json:
    room = {"cpu": "4", "memory": "8Gi", "pods": "20"}
    return {"metadata": {"name": name}, "spec": {}, "status": {"allocatable": room}}


def pod(name: str, on: str, *, ready: bool = True, owner: Json | None = OWNER, **spec: Any) -> Json:
    meta = {"name": name, "namespace": "default", "uid": name, "ownerReferences": [owner] if owner else []}
    containers = [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    return {"metadata": meta, "spec": {"nodeName": on, "containers": containers, **spec}, "status": status}


class Server:
    """Lists and the events of one watch; `evicted` answers evictions, `patched` are the nodes' new marks in order."""

    url = "https://test"

    def __init__(self, pods: list[Json], events: list[Json]) -> None:
        self.pods, self.events = pods, events
        self.evicted: Callable[[str], None] = lambda name: None
        self.patched: list[tuple[str, bool]] = []

    def call(self, method: str, path: str, *, body: Any = None, **options: Any) -> bytes:
        name = path.rpartition("/")[2]
        if method == "PATCH":
            self.patched.append((name, bool(body["spec"]["unschedulable"])))
        elif method == "POST":
            self.evicted(body["metadata"]["name"])
        lists = {"nodes": [node("a"), node("b")], "pods": self.pods}
        return msgspec.json.encode({"metadata": {"resourceVersion": "7"}, "items": lists.get(name, [])})

    def lines(self, path: str, **options: Any) -> Iterator[bytes]:
        yield from (json.dumps(event).encode() for event in self.events)


def move() -> Move:
    return Move(PodInfo(msgspec.convert(pod("old", "a"), Pod)), "a", "b", "because")


def options(*words: str) -> argparse.Namespace:
    return command._parser().parse_args(list(words))


def lines(server: Server, *words: str) -> Iterator[str]:
    profiles = {profile.name: profile for profile in config.default()}
    return command.lines(server, profiles, options(*words))  # type: ignore[arg-type]


GONE = {"type": "DELETED", "object": pod("old", "a")}


def test_a_move_is_over_when_the_old_pod_is_gone_and_the_new_one_ready() -> None:
    events = [
        {"type": "ADDED", "object": pod("new", "b", ready=False)},
        {"type": "MODIFIED", "object": pod("other", "a", owner={**OWNER, "uid": "db"})},
        {"type": "MODIFIED", "object": pod("new", "b")},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}},
        GONE,
    ]
    outcome = Mover(Server([pod("old", "a"), pod("kept", "a")], events), 5).move(move())  # type: ignore[arg-type]
    assert (outcome.moved, outcome.away) == (True, True)
    assert outcome.words.startswith("new is Ready on b (")


@pytest.mark.parametrize("events", [[], [GONE], [{"type": "ADDED", "object": pod("new", "b")}]])
def test_nothing_else_is_moved_if_the_new_pod_does_not_come(events: list[Json]) -> None:
    server = Server([pod("old", "a")], events)
    with pytest.raises(CliError, match="no pod became Ready in the place of default/old in 5 s; nothing else is moved"):
        Mover(server, 5).move(move())  # type: ignore[arg-type]


def test_a_pod_that_its_budget_cannot_spare_stays_and_the_next_controller_has_its_turn() -> None:
    def refuse(name: str) -> None:
        raise ServerError({"code": 429, "message": "the budget needs it"})

    server = Server([pod(f"p{number}", "a") for number in range(4)], [])
    server.evicted = refuse
    said = list(lines(server))
    assert said[0].startswith("moving default/p0  a -> b (+")
    assert said[1:] == ["  stays: the budget needs it", "No pods were moved: nothing would be better by the margin"]


def test_packing_that_is_interrupted_takes_its_cordons_back() -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    server = Server([pod("p0", "a"), pod("p1", "b"), pod("p2", "b")], [])
    server.evicted = interrupt
    with pytest.raises(KeyboardInterrupt):
        list(lines(server, "--pack"))
    assert server.patched == [("a", True), ("a", False)]


def test_pods_of_a_controller_that_is_not_well_stay() -> None:
    server = Server([*(pod(f"p{number}", "a") for number in range(4)), pod("ill", "b", ready=False)], [])
    assert list(lines(server, "--dry-run")) == ["No pods would be moved: nothing would be better by the margin"]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (pod("p", "a", owner=None), "has no controller that would make it again"),
        (pod("p", "a", owner={**OWNER, "kind": "DaemonSet"}), "belongs to its node"),
        (pod("p", "a", owner={**OWNER, "kind": "Job"}), "is of a Job, whose work would begin anew"),
        (pod("p", "a", schedulingGroup={"podGroupName": "g"}), "belongs to a group that is placed all at once"),
        (pod("p", "a", priority=2_000_001_000), "is critical to the system"),
        (pod("p", "a", ready=False), "is not ready, or is going already"),
        (pod("p", "a", resourceClaims=[{"name": "c", "resourceClaimName": "gpu"}]), "has devices"),
        (pod("p", "a", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]), "has persistent volumes"),
        (pod("p", "a"), ""),
    ],
)
def test_why_a_pod_is_never_moved(made: Json, words: str) -> None:
    assert immovable(PodInfo(msgspec.convert(made, Pod)), follows_volumes=False) == words
