"""What goes wrong with workloads: it is named, it is not hammered at, it recovers once mended. On simulated nodes."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from real_cluster import until

import tiphys.testing
from tiphys.testing import Cluster

Json = dict[str, Any]
_POSTS = re.compile(r'^apiserver_request_total\{verb="POST".*resource="pods",subresource="".* (\d+)', re.M)


@pytest.fixture(scope="module")
def there() -> Iterator[Cluster]:
    with tiphys.testing.cluster(nodes=3) as made:
        yield made


@pytest.fixture
def space(there: Cluster, request: pytest.FixtureRequest) -> Iterator[Space]:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-")
    there.kubectl("create", "namespace", name)
    yield Space(there, name)
    there.kubectl("delete", "namespace", name, "--wait=false")


class Space:
    """A namespace of its own for each test."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name

    def kubectl(self, *words: str, stdin: str = "") -> str:
        return self.cluster.kubectl("-n", self.name, *words, stdin=stdin)

    def apply(self, *objects: Json) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def refused(self, obj: Json) -> str:
        """Why an object is not taken."""
        with pytest.raises(subprocess.CalledProcessError) as caught:
            self.kubectl("create", "-f", "-", stdin=json.dumps(obj))
        said: str = caught.value.stderr
        return said

    def condition(self, what: str, kind: str) -> Json:
        conditions = self.get(*what.split("/"))["status"].get("conditions", ())
        return next((each for each in conditions if each["type"] == kind), {})

    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.get("events")["items"]]

    def ready(self, what: str, replicas: int) -> None:
        def check() -> bool:
            found = self.get(*what.split("/"))
            status = found["status"]
            seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            counts = {status.get("readyReplicas", 0), status.get("replicas", 0)}
            return bool(seen and counts == {replicas} and status.get("updatedReplicas", replicas) == replicas)

        until(check, f"{what} ready", 30)

    def creations(self) -> int:
        """How often a pod was asked for, in vain or not, since the server began."""
        return sum(int(count) for count in _POSTS.findall(self.cluster.kubectl("get", "--raw", "/metrics")))


def template(labels: Json, **spec: Any) -> Json:
    container = {"name": "c", "image": "app:1", "resources": {"requests": {"cpu": "100m", "memory": "16Mi"}}}
    body = {"containers": [container], "terminationGracePeriodSeconds": 0, **spec}
    return {"metadata": {"labels": labels}, "spec": body}


def workload(kind: str, name: str, replicas: int, labels: Json | None = None, **spec: Any) -> Json:
    labels = labels or {"app": name}
    more = spec.pop("more", {})
    body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template(labels, **spec), **more}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": body}


def still(space: Space, seconds: float = 2.0) -> int:
    """How many pods are asked for while nothing should happen."""
    before, end = space.creations(), time.monotonic() + seconds
    while time.monotonic() < end:
        space.get("pods")
    return space.creations() - before


def owners(space: Space) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pod in space.get("pods")["items"]:
        for owner in pod["metadata"].get("ownerReferences", ()):
            counts[owner["name"]] = counts.get(owner["name"], 0) + 1
    return counts


@pytest.mark.parametrize("kinds", [("ReplicaSet", "ReplicaSet"), ("ReplicaSet", "StatefulSet")])
def test_selectors_that_overlap_start_no_fight(space: Space, kinds: tuple[str, str]) -> None:
    labels = {"app": "shared"}
    space.apply(workload(kinds[0], "one", 2, labels), workload(kinds[1], "two", 3, labels))
    space.ready(f"{kinds[0]}/one", 2)
    space.ready(f"{kinds[1]}/two", 3)
    assert owners(space) == {"one": 2, "two": 3}
    assert still(space) == 0


def test_one_pod_is_adopted_by_one_of_two(space: Space) -> None:
    labels = {"app": "shared"}
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}} | template(labels)
    bare["metadata"] = {"name": "bare", "labels": labels}
    space.apply(bare)
    space.apply(workload("ReplicaSet", "one", 1, labels), workload("ReplicaSet", "two", 1, labels))
    space.ready("ReplicaSet/one", 1)
    space.ready("ReplicaSet/two", 1)
    [owner] = space.get("pod", "bare")["metadata"]["ownerReferences"]
    assert owner["controller"] is True
    assert owners(space) == {"one": 1, "two": 1}
    assert len(space.get("pods")["items"]) == 2
    # It is let go when it does not match any more, and made up for.
    space.kubectl("label", "pod", "bare", "app=other", "--overwrite")
    until(lambda: not space.get("pod", "bare")["metadata"].get("ownerReferences"), "let go")
    space.ready(f"ReplicaSet/{owner['name']}", 1)
    assert still(space) == 0


def test_a_pod_has_one_controller(space: Space) -> None:
    refs = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": name, "controller": True} for name in "ab"
    ]
    pod = {"apiVersion": "v1", "kind": "Pod", **template({}), "metadata": {"name": "p", "ownerReferences": refs}}
    assert "Only one reference can have Controller set to true" in space.refused(pod)


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"])
def test_a_template_that_its_selector_does_not_match_is_refused(space: Space, kind: str) -> None:
    body = workload(kind, "web", 1, {"app": "web"})
    body["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    if kind == "DaemonSet":
        del body["spec"]["replicas"]
    assert "`selector` does not match template `labels`" in space.refused(body)


def test_two_budgets_for_one_pod_are_an_error_that_says_so(space: Space) -> None:
    space.apply(workload("ReplicaSet", "web", 2))
    space.ready("ReplicaSet/web", 2)
    for name in "ab":
        space.kubectl("create", "poddisruptionbudget", name, "--selector=app=web", "--min-available=1")
    pod = space.get("pods")["items"][0]["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": space.name}}
    path = f"/api/v1/namespaces/{space.name}/pods/{pod}/eviction"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        space.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    assert "more than one PodDisruptionBudget" in caught.value.stderr


def test_a_quota_in_the_midst_of_a_rollout_holds_it_until_it_grows(space: Space) -> None:
    space.apply(workload("Deployment", "web", 3, more={"strategy": {"rollingUpdate": {"maxUnavailable": 0}}}))
    space.ready("Deployment/web", 3)
    space.kubectl("create", "quota", "few", "--hard=pods=3")
    until(lambda: space.get("quota", "few")["status"].get("used", {}).get("pods") == "3", "counted")
    space.kubectl("set", "image", "deployment/web", "c=app:2")
    until(lambda: space.condition("deployment/web", "ReplicaFailure").get("reason") == "FailedCreate", "it says so")
    assert "exceeded quota: few" in space.condition("deployment/web", "ReplicaFailure")["message"]
    assert "FailedCreate" in space.reasons()
    # The old pods go on, and the quota is not hammered at.
    assert space.get("deployment", "web")["status"]["readyReplicas"] == 3
    assert still(space, 4.0) <= 12
    space.kubectl("patch", "quota", "few", "-p", '{"spec":{"hard":{"pods":"5"}}}')
    space.ready("Deployment/web", 3)
    until(lambda: space.condition("deployment/web", "ReplicaFailure") == {}, "nothing fails any more")

    def images() -> set[str]:
        return {pod["spec"]["containers"][0]["image"] for pod in space.get("pods")["items"]}

    # The old ones may still be going.
    until(lambda: images() == {"app:2"}, "only new pods")


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Job"])
def test_a_quota_holds_other_workloads_until_it_grows(space: Space, kind: str) -> None:
    space.kubectl("create", "quota", "few", "--hard=pods=1")
    until(lambda: space.get("quota", "few")["status"].get("used", {}).get("pods") == "0", "counted")
    body = workload(kind, "web", 3)
    if kind == "DaemonSet":
        del body["spec"]["replicas"]
    if kind == "Job":
        made = template({"app": "web"}, restartPolicy="Never")
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "web"},
                "spec": {"parallelism": 3, "completions": 3, "template": made}}  # fmt: skip
    space.apply(body)
    until(lambda: "FailedCreate" in space.reasons(), "an event says so", 20)
    assert len(space.get("pods")["items"]) == 1
    assert still(space, 4.0) <= 16
    space.kubectl("patch", "quota", "few", "-p", '{"spec":{"hard":{"pods":"9"}}}')
    until(lambda: len(space.get("pods")["items"]) == 3, "all three", 60)


def test_a_template_that_fits_nowhere_is_told_of_and_can_be_undone(space: Space) -> None:
    space.apply(workload("Deployment", "web", 2, more={"progressDeadlineSeconds": 2}))
    space.ready("Deployment/web", 2)
    patch = {"spec": {"template": {"spec": {"nodeSelector": {"disk": "none-has-it"}}}}}
    space.kubectl("patch", "deployment", "web", "-p", json.dumps(patch))

    def progress() -> str:
        found: str = space.condition("deployment/web", "Progressing").get("reason", "")
        return found

    until(lambda: progress() == "ProgressDeadlineExceeded", "too late", 30)
    assert "FailedScheduling" in space.reasons()
    waiting = [pod for pod in space.get("pods")["items"] if not pod["spec"].get("nodeName")]
    condition = next(each for each in waiting[0]["status"]["conditions"] if each["type"] == "PodScheduled")
    assert "didn't match Pod's node affinity/selector" in condition["message"]
    assert still(space) == 0
    space.kubectl("rollout", "undo", "deployment/web")
    space.ready("Deployment/web", 2)
    until(lambda: progress() == "NewReplicaSetAvailable", "all is well again")


@pytest.mark.parametrize(
    ("spec", "words", "mend"),
    [
        ({"serviceAccountName": "robot"}, 'serviceaccount "robot" not found', ("create", "serviceaccount", "robot")),
        ({"priorityClassName": "urgent-{}"}, "no PriorityClass with name",
         ("create", "priorityclass", "urgent-{}", "--value=5")),
    ],
)  # fmt: skip
def test_what_a_template_names_may_come_later(space: Space, spec: Json, words: str, mend: tuple[str, ...]) -> None:
    spec = {key: value.format(space.name) for key, value in spec.items()}
    space.apply(workload("Deployment", "web", 2, **spec))
    until(lambda: words in space.condition("deployment/web", "ReplicaFailure").get("message", ""), "it says what", 20)
    assert still(space, 4.0) <= 12
    space.kubectl(*(word.format(space.name) for word in mend))
    space.ready("Deployment/web", 2)
    until(lambda: space.condition("deployment/web", "ReplicaFailure") == {}, "nothing fails any more")


def test_a_job_that_fails_gives_up_at_its_limit(space: Space) -> None:
    made = template({"app": "job"}, restartPolicy="Never")
    made["metadata"]["annotations"] = {"tiphys.io/exit-after": "0.01", "tiphys.io/exit-code": "3"}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bad"},
            "spec": {"backoffLimit": 1, "template": made}}  # fmt: skip
    space.apply(body)
    until(lambda: space.condition("job/bad", "Failed").get("reason") == "BackoffLimitExceeded", "given up", 60)
    assert len(space.get("pods")["items"]) == 2
    assert still(space) == 0
