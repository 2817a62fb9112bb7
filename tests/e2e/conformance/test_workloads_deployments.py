from __future__ import annotations

import pytest

from conformance.marks import upstream
from conformance.workloads import Kind, template, unique, version

pytestmark = pytest.mark.root

LABELS = {"app": "deployed"}


@pytest.fixture
def deployments(rest, namespace) -> Kind:
    return Kind(rest, "apps/v1", "deployments", namespace)


@pytest.fixture
def sets(rest, namespace) -> Kind:
    return Kind(rest, "apps/v1", "replicasets", namespace)


@pytest.fixture
def pods(rest, namespace) -> Kind:
    return Kind(rest, "v1", "pods", namespace)


def spec(replicas: int, **more) -> dict:
    return {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template(LABELS), **more}


def done(deployments: Kind, name: str, replicas: int) -> dict:
    return deployments.until(
        name, replicas=replicas, updatedReplicas=replicas, availableReplicas=replicas, unavailableReplicas=0
    )


def sizes(sets: Kind) -> dict[str, int]:
    """The sizes of the deployment's sets by revision."""
    revision = "deployment.kubernetes.io/revision"
    return {each["metadata"]["annotations"][revision]: each["spec"]["replicas"] for each in sets.list()}


@upstream("[sig-apps] Deployment RollingUpdateDeployment should delete old pods and create new ones [Conformance]")
def test_a_rolling_update_adopts_and_replaces(sets, deployments, pods):
    # Pods of a set that the deployment adopts are updated like its own.
    old = {"replicas": 1, "selector": {"matchLabels": {**LABELS, "of": "old"}}, "template": template({**LABELS, "of": "old"})}
    sets.create("old", old, annotations={"deployment.kubernetes.io/revision": "3546343826724305832"}, labels=LABELS)
    sets.until("old", readyReplicas=1)
    deployments.create("d", spec(1))
    done(deployments, "d", 1)
    (adopted,) = [each for each in sets.list() if each["metadata"]["name"] == "old"]
    assert adopted["metadata"]["ownerReferences"][0]["name"] == "d"
    assert adopted["spec"]["replicas"] == 0
    revision = deployments.get("d")["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    assert revision == "3546343826724305833"


@upstream("[sig-apps] Deployment RecreateDeployment should delete old pods and create new ones [Conformance]")
def test_recreate_never_runs_two_versions_at_once(rest, deployments, sets, pods):
    deployments.create("d", spec(1, strategy={"type": "Recreate"}))
    done(deployments, "d", 1)
    seen = rest.ok("GET", pods.path)["metadata"]["resourceVersion"]
    deployments.strategic("d", version("2"))
    done(deployments, "d", 1)
    running: dict[str, str] = {}
    for kind, pod in rest.events(pods.path, resourceVersion=seen, timeoutSeconds=5):
        name, hash_ = pod["metadata"]["name"], pod["metadata"]["labels"]["pod-template-hash"]
        if kind == "DELETED" or pod["status"].get("phase") in ("Succeeded", "Failed"):
            running.pop(name, None)
        elif pod["status"].get("phase") == "Running":
            running[name] = hash_
        assert len(set(running.values())) <= 1
    assert sizes(sets) == {"1": 0, "2": 1}


@upstream("[sig-apps] Deployment deployment should delete old replica sets [Conformance]")
def test_no_more_history_is_kept_than_wished(rest, deployments, sets):
    deployments.create("d", spec(1, revisionHistoryLimit=0))
    done(deployments, "d", 1)
    deployments.strategic("d", version("2"))
    done(deployments, "d", 1)
    rest.until(sets.path, lambda answer: len(answer.body["items"]) == 1)
    assert sizes(sets) == {"2": 1}


@upstream("[sig-apps] Deployment deployment should support rollover [Conformance]")
def test_a_change_amid_an_update_goes_straight_to_the_newest(deployments, sets):
    deployments.create("d", spec(1, minReadySeconds=1, strategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}))
    done(deployments, "d", 1)
    container = {"name": "c", "image": "nowhere.invalid/none:1"}
    deployments.strategic("d", {"spec": {"template": {"spec": {"containers": [container]}}}})
    deployments.until("d", updatedReplicas=1, availableReplicas=1)
    image = template()["spec"]["containers"][0]["image"]
    container = {"name": "c", "image": image, "env": [{"name": "VERSION", "value": "3"}]}
    deployments.strategic("d", {"spec": {"template": {"spec": {"containers": [container]}}}})
    done(deployments, "d", 1)
    found = sizes(sets)
    newest = max(found, key=int)
    assert {name: size for name, size in found.items() if size} == {newest: 1}


@upstream("[sig-apps] Deployment deployment should support proportional scaling [Conformance]")
def test_scaling_amid_an_update_is_shared_out(rest, deployments, sets):
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    deployments.create("d", spec(10, strategy=rolling))
    deployments.until("d", 60, availableReplicas=10)
    container = {"name": "c", "image": "nowhere.invalid/none:1"}
    deployments.strategic("d", {"spec": {"template": {"spec": {"containers": [container]}}}})
    rest.until(sets.path, lambda _: sizes(sets) == {"1": 8, "2": 5})
    deployments.until("d", availableReplicas=8, updatedReplicas=5)
    deployments.merge("d", {"spec": {"replicas": 30}}, "/scale")
    rest.until(sets.path, lambda _: sizes(sets) == {"1": 20, "2": 13})


@upstream("[sig-apps] Deployment Deployment should have a working scale subresource [Conformance]")
def test_the_scale(rest, deployments):
    deployments.create("d", spec(1))
    done(deployments, "d", 1)
    path = f"{deployments.path}/d/scale"
    scale = rest.ok("GET", path)
    assert scale["spec"]["replicas"] == scale["status"]["replicas"] == 1
    scale["spec"]["replicas"] = 2
    scale["metadata"].pop("resourceVersion")
    assert rest.ok("PUT", path, scale)["spec"]["replicas"] == 2
    assert deployments.get("d")["spec"]["replicas"] == 2
    assert rest.merge(path, {"spec": {"replicas": 4}})["spec"]["replicas"] == 4
    done(deployments, "d", 4)


@upstream("[sig-apps] Deployment should run the lifecycle of a Deployment [Conformance]")
def test_the_life_of_a_deployment(rest, deployments):
    label = unique("static")
    deployments.create("d", spec(2), labels={"test": label})
    done(deployments, "d", 2)
    deployments.strategic("d", {"metadata": {"labels": {"patched": "yes"}}, "spec": {"replicas": 1}})
    done(deployments, "d", 1)
    deployments.merge("d", {"spec": {"replicas": 2}}, "/scale")
    done(deployments, "d", 2)
    everywhere = rest.ok("GET", "/apis/apps/v1/deployments", labelSelector=f"test={label}")["items"]
    assert [found["metadata"]["name"] for found in everywhere] == ["d"]
    path = f"{deployments.path}/d/status"
    patched = rest.merge(path, {"status": {"readyReplicas": 0, "availableReplicas": 0}})
    assert patched["status"].get("readyReplicas", 0) == 0
    while True:
        read = rest.ok("GET", path)
        read["status"]["conditions"] = [*read["status"]["conditions"], {"type": "StatusUpdate", "status": "True"}]
        answer = rest("PUT", path, read)
        if answer.code != 409:
            break
    assert "StatusUpdate" in [c["type"] for c in rest.ok("GET", path)["status"]["conditions"]]
    done(deployments, "d", 2)
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    rest.ok("DELETE", deployments.path, body, labelSelector=f"test={label}")
    deployments.gone("d")
