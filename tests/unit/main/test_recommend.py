"""`tiphys recommend` against the answers of a server that are written down here."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import yaml

from tiphys.cli.errors import CliError, ServerError
from tiphys.kubelet.usage_history import Record
from tiphys.main import recommend as command

Json = dict[str, Any]
DAY = 86_400.0
MIB = 1 << 20


def record(kind: str, name: str, cores: float, memory: int, **more: Any) -> Record:
    found = Record("default", kind, name, "c", **{"first": 0.0, "last": 0.0, **more})
    for minute in range(10):
        found.observe(found.last + minute * 60, cores, memory)
    return found


def workload(name: str, **resources: Json) -> Json:
    template = {"spec": {"containers": [{"name": "c", "resources": resources}]}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"template": template}}


class Server:
    url = "https://test"

    def __init__(self, histories: dict[str, list[Record] | None], lists: dict[str, list[Json]]) -> None:
        self.histories, self.lists = histories, lists

    def call(self, method: str, path: str, **options: Any) -> bytes:
        assert method == "GET"
        parts = path.split("/")
        if path == "/api/v1/nodes":
            return json.dumps({"items": [{"metadata": {"name": name}} for name in self.histories]}).encode()
        if parts[-2:] == ["stats", "history"]:
            found = self.histories[parts[4]]
            if found is None:
                raise ServerError({"message": "the node does not answer"}, 503)
            return msgspec.json.encode(found)
        return json.dumps({"items": self.lists.get(parts[-1], [])}).encode()


def answer(server: Any, *words: str) -> str:
    return command.answer(server, command._parser().parse_args(words))


def rows(text: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in text.splitlines()[1:]}


def test_what_was_used_on_all_nodes_and_fifteen_percent_more_is_recommended():
    lists = {"deployments": [workload("web", requests={"cpu": "1", "memory": "1Gi"})]}
    idle, busy = record("Deployment", "web", 0.1, 60 * MIB), record("Deployment", "web", 0.1, 100 * MIB)
    gone = record("Deployment", "gone", 1, MIB)
    text = answer(Server({"n1": [idle, gone], "n2": [busy]}, lists))
    name, container, request, used, cpu, memory_request, peak, memory, *_ = rows(text)["deployment/web"]
    assert (name, container, request, memory_request) == ("deployment/web", "c", "1", "1Gi")
    # Buckets are 5 % wide.
    assert 100 <= int(used.removesuffix("m")) <= 105
    assert 115 <= int(cpu.removesuffix("m")) <= 121
    assert (peak, memory) == ("100Mi", "115Mi")
    assert "gone" not in text
    assert "less than a day" in text


def test_a_patch_keeps_the_ratio_of_limits_and_requests():
    lists = {"deployments": [workload("web", requests={"cpu": "1", "memory": "1Gi"}, limits={"memory": "2Gi"})]}
    server = Server({"n1": [record("Deployment", "web", 0.001, 100 * MIB)]}, lists)
    patch = yaml.safe_load(answer(server, "deploy/web", "--patch"))
    resources = {"requests": {"cpu": "10m", "memory": "115Mi"}, "limits": {"memory": "230Mi"}}
    assert patch == {"spec": {"template": {"spec": {"containers": [{"name": "c", "resources": resources}]}}}}


def test_what_was_killed_for_want_of_memory_gets_more_than_it_had():
    ended = {"name": "c", "lastState": {"terminated": {"reason": "OOMKilled"}}}
    pod = workload("web-1")
    pod["spec"] = {"containers": [{"name": "c", "resources": {"limits": {"memory": "1Gi"}}}]}
    pod["status"] = {"containerStatuses": [ended]}
    lists = {"deployments": [workload("web", limits={"memory": "1Gi"})], "pods": [pod]}
    server = Server({"n1": [record("Deployment", "web", 0.1, 900 * MIB)]}, lists)
    text = answer(server)
    assert rows(text)["deployment/web"][7] == "1229Mi*"
    assert "killed at its memory limit" in text


def test_a_node_that_does_not_tell_is_named(capsys):
    lists = {"deployments": [workload("web")]}
    server = Server({"n1": None, "n2": [record("Deployment", "web", 0.1, MIB, first=-3 * DAY)]}, lists)
    text = answer(server)
    assert rows(text)["deployment/web"][2] == "-"
    assert "less than a day" not in text
    assert "node n1 does not tell what it saw: the node does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["deployment/other"], "nothing is known of deployment/other in namespace default"),
        (["thing/web"], "name a workload as KIND/NAME"),
        (["--patch"], "for one workload"),
        (["pod/one", "--patch"], "--subresource resize"),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_reason(words, says):
    one = record("Pod", "one", 0.1, MIB)
    pod = {"metadata": {"name": "one", "namespace": "default"}, "spec": {"containers": [{"name": "c"}]}, "status": {}}
    with pytest.raises(CliError, match=says):
        answer(Server({"n1": [one]}, {"pods": [pod]}), *words)
