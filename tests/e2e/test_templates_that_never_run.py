"""Templates that can never run: what is told of them, that nothing is hammered, and that they run once mended."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from real_cluster import until

import tiphys.testing

Json = dict[str, Any]


@pytest.fixture(scope="module")
def made() -> Iterator[tiphys.testing.Cluster]:
    with tiphys.testing.cluster(2) as cluster:
        yield cluster


@pytest.fixture
def namespace(made: tiphys.testing.Cluster) -> Iterator[str]:
    name = f"ns-{secrets.token_hex(4)}"
    made.kubectl("create", "namespace", name)
    until(lambda: made.kubectl("get", "serviceaccounts", "-n", name, "-o", "name"), "the default account")
    yield name
    made.kubectl("delete", "namespace", name, "--wait=false")


class Place:
    def __init__(self, made: tiphys.testing.Cluster, namespace: str) -> None:
        self.made, self.namespace = made, namespace

    def kubectl(self, *words: str, stdin: str = "") -> str:
        return self.made.kubectl("-n", self.namespace, *words, stdin=stdin)

    def apply(self, obj: Json) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps(obj))

    def items(self, plural: str) -> list[Json]:
        found: list[Json] = json.loads(self.kubectl("get", plural, "-o", "json"))["items"]
        return found

    def waits(self, *reasons: str) -> bool:
        states = [
            status.get("state", {}).get("waiting", {}).get("reason", "")
            for pod in self.items("pods") for status in pod["status"].get("containerStatuses", ())
        ]  # fmt: skip
        return any(state in reasons for state in states)

    def told(self, reason: str, text: str = "") -> bool:
        return any(e["reason"] == reason and text in e["message"] for e in self.items("events"))

    def condition(self, type_: str, reason: str) -> Json | None:
        for pod in self.items("pods"):
            for held in pod["status"].get("conditions", ()):
                if (held["type"], held.get("reason")) == (type_, reason):
                    found: Json = held
                    return found
        return None


@pytest.fixture
def place(made: tiphys.testing.Cluster, namespace: str) -> Place:
    return Place(made, namespace)


def deployment(replicas: int = 2, notes: dict[str, str] | None = None, **spec: Any) -> Json:
    template = {
        "metadata": {"labels": {"app": "web"}, "annotations": notes or {}},
        "spec": {"containers": [{"name": "c", "image": "app:1"}], **spec},
    }
    body: Json = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    # What crashes at once is ready for a moment, and must not count as good.
    body["minReadySeconds"] = 1
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": body}


@pytest.mark.parametrize(("notes", "reasons", "event"), [
    ({"tiphys.io/fault": "image"}, ("ImagePullBackOff",), ("Failed", "Failed to pull image")),
    ({"tiphys.io/fault": "create"}, ("CreateContainerError",), ("Failed", "Error: ")),
    ({"tiphys.io/fault": "start"}, ("RunContainerError", "CrashLoopBackOff"), ("Failed", "not found in $PATH")),
    ({"tiphys.io/exit-after": "0.01", "tiphys.io/exit-code": "1"}, ("CrashLoopBackOff",), ("BackOff", "restarting")),
])  # fmt: skip
def test_a_bad_version_is_undone(place: Place, notes: Any, reasons: Any, event: Any) -> None:
    place.apply(deployment())
    place.kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    place.apply(deployment(notes=notes))
    until(lambda: place.waits(*reasons), f"waits: {reasons}")
    until(lambda: place.told(*event), f"event {event}")
    # The old version serves on: no more than one pod was given up for the new.
    (web,) = place.items("deployments")
    assert web["status"]["availableReplicas"] >= 2
    place.kubectl("rollout", "undo", "deployment/web")
    place.kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    until(lambda: len(place.items("pods")) == 2, "only the good ones are left")
    assert not place.waits(*reasons)


@pytest.mark.parametrize(("spec", "text"), [
    ({"nodeSelector": {"no": "where"}}, "didn't match Pod's node affinity/selector"),
    ({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "999"}}}]}, "Insufficient cpu"),
])  # fmt: skip
def test_what_fits_nowhere_is_unschedulable(place: Place, spec: Json, text: str) -> None:
    place.apply(deployment(1, **spec))
    held: Any = until(lambda: place.condition("PodScheduled", "Unschedulable"), "it is unschedulable")
    assert text in held["message"]
    assert "0/2 nodes are available" in held["message"]
    until(lambda: place.told("FailedScheduling", text), "an event tells")
    place.apply(deployment(1))
    place.kubectl("patch", "deployment", "web", "--type=json", "-p", json.dumps([
        {"op": "replace", "path": "/spec/template/spec", "value": {"containers": [{"name": "c", "image": "i"}]}}
    ]))  # fmt: skip
    place.kubectl("rollout", "status", "deployment/web", "--timeout=20s")


def _env(kind: str) -> Json:
    return {"containers": [{"name": "c", "image": "i", "envFrom": [{kind: {"name": "absent"}}]}]}


@pytest.mark.parametrize(("spec", "word", "text"), [
    (_env("configMapRef"), "configmap", 'configmap "absent" not found'),
    (_env("secretRef"), "secret", 'secret "absent" not found'),
])  # fmt: skip
def test_a_missing_source_is_told_and_made_good(place: Place, spec: Json, word: str, text: str) -> None:
    place.apply(deployment(1, **spec))
    until(lambda: place.waits("CreateContainerConfigError"), "it waits")
    until(lambda: place.told("Failed", text), "an event tells")
    kind = ["generic"] if word == "secret" else []
    place.kubectl("create", word, *kind, "absent", "--from-literal=a=b")
    place.kubectl("rollout", "status", "deployment/web", "--timeout=30s")


def test_a_missing_claim_is_told(place: Place) -> None:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "absent"}}
    place.apply(deployment(1, volumes=[volume]))
    held: Any = until(lambda: place.condition("PodScheduled", "Unschedulable"), "it is unschedulable")
    assert 'persistentvolumeclaim "absent" not found' in held["message"]


@pytest.mark.parametrize(("field", "text", "mend"), [
    ({"serviceAccountName": "absent"}, 'serviceaccount "absent" not found', ("create", "serviceaccount", "absent")),
    ({"runtimeClassName": "absent"}, 'RuntimeClass "absent" not found', ()),
])  # fmt: skip
def test_what_is_missing_when_pods_are_made(place: Place, field: Json, text: str, mend: tuple[str, ...]) -> None:
    place.apply(deployment(1, **field))
    until(lambda: place.told("FailedCreate", text), "an event tells")

    def failing() -> bool:
        held = place.items("deployments")[0].get("status", {}).get("conditions", ())
        return any(
            (c["type"], c["reason"]) == ("ReplicaFailure", "FailedCreate") and text in c["message"] for c in held
        )

    until(failing, "the Deployment's condition tells")
    assert place.items("pods") == []
    if mend:
        place.kubectl(*mend)
    else:
        body = {
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "absent"}, "handler": "runc",
        }  # fmt: skip
        place.apply(body)
    place.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def job(notes: dict[str, str], **spec: Any) -> Json:
    template = {
        "metadata": {"annotations": notes},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template, **spec}}


@pytest.mark.parametrize(("spec", "reason"), [
    ({"backoffLimit": 0}, "BackoffLimitExceeded"),
    (
        {"backoffLimit": 6, "podFailurePolicy": {"rules": [
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
        ]}}, "PodFailurePolicy",
    ),
    ({"backoffLimit": 6, "activeDeadlineSeconds": 2}, "DeadlineExceeded"),
])  # fmt: skip
def test_a_job_that_can_never_succeed_ends(place: Place, spec: Json, reason: str) -> None:
    notes = {"tiphys.io/exit-after": "0.05", "tiphys.io/exit-code": "42"}
    if reason == "DeadlineExceeded":
        notes = {"tiphys.io/fault": "image"}
    place.apply(job(notes, **spec))

    def failed() -> bool:
        held = place.items("jobs")[0].get("status", {}).get("conditions", ())
        return any((c["type"], c["reason"]) == ("Failed", reason) for c in held)

    until(failed, f"the Job fails: {reason}")
    until(lambda: place.told(reason), "an event tells")
    assert len(place.items("pods")) <= 1
