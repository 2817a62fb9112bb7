from __future__ import annotations

import pytest

from conformance.marks import upstream
from conformance.workloads import Kind, check_collection, check_status_verbs, template, unique, version

pytestmark = pytest.mark.root

LABELS = {"app": "stateful"}
# Its pods are ready while there is a file that a test can take away.
PROBE = {"exec": {"command": ["test", "-f", "/www/index.html"]}, "periodSeconds": 1, "failureThreshold": 1}
TEMPLATE = template(LABELS, container={"readinessProbe": PROBE})


def spec(replicas: int, **more) -> dict:
    return {
        "replicas": replicas, "serviceName": "test", "selector": {"matchLabels": LABELS}, "template": TEMPLATE, **more,
    }  # fmt: skip


@pytest.fixture
def sets(rest, namespace) -> Kind:
    return Kind(rest, "apps/v1", "statefulsets", namespace)


@pytest.fixture
def pods(rest, namespace) -> Kind:
    return Kind(rest, "v1", "pods", namespace)


def well(cluster, namespace: str, pod: str, *, ready: bool) -> None:
    move = ["/www/away", "/www/index.html"] if ready else ["/www/index.html", "/www/away"]
    cluster.kubectl("-n", namespace, "exec", pod, "--", "busybox", "mv", *move)


@upstream(
    "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Scaling should happen in predictable order and halt if any stateful pod is unhealthy [Slow] [Conformance]"
)
def test_scaling_keeps_an_order_and_waits_for_the_unhealthy(rest, sets, pods, cluster, namespace):
    version_ = rest.ok("GET", pods.path)["metadata"]["resourceVersion"]
    sets.create("s", spec(1))
    sets.until("s", readyReplicas=1)
    well(cluster, namespace, "s-0", ready=False)
    sets.until("s", readyReplicas=0)
    sets.merge("s", {"spec": {"replicas": 3}}, "/scale")
    assert sets.until("s", replicas=1, readyReplicas=0)["status"]["observedGeneration"] >= 2
    assert [pod["metadata"]["name"] for pod in pods.list()] == ["s-0"]
    well(cluster, namespace, "s-0", ready=True)
    sets.until("s", readyReplicas=3)
    added, ready = [], {}
    for kind, pod in rest.events(pods.path, resourceVersion=version_, timeoutSeconds=5):
        name = pod["metadata"]["name"]
        if kind == "ADDED":
            added.append(name)
            assert all(ready[f"s-{n}"] for n in range(int(name[2:]))), (name, ready)
        ready[name] = any(
            c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ())
        )
        if added == ["s-0", "s-1", "s-2"] and ready["s-2"]:
            break
    assert added == ["s-0", "s-1", "s-2"]
    version_ = rest.ok("GET", pods.path)["metadata"]["resourceVersion"]
    for name in added:
        well(cluster, namespace, name, ready=False)
    sets.until("s", readyReplicas=0)
    sets.merge("s", {"spec": {"replicas": 0}}, "/scale")
    sets.until("s", replicas=3, readyReplicas=0)
    assert len(pods.list()) == 3
    for name in added:
        well(cluster, namespace, name, ready=True)
    sets.until("s", replicas=0)
    going = []
    for kind, pod in rest.events(pods.path, resourceVersion=version_, timeoutSeconds=5):
        if kind == "DELETED":
            going.append(pod["metadata"]["name"])
        if len(going) == 3:
            break
    assert going == ["s-2", "s-1", "s-0"]


@upstream(
    "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Should recreate evicted statefulset [Conformance]"
)
def test_a_pod_that_its_node_refused_is_made_again(rest, sets, pods):
    node = rest.ok("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    ports = {"ports": [{"containerPort": 21017, "hostPort": 21017}]}
    blocker = template(container=ports)["spec"]
    pods.create("blocker", {**blocker, "nodeName": node})
    rest.until(f"{pods.path}/blocker", lambda answer: answer.body["status"].get("phase") == "Running")
    version_ = rest.ok("GET", pods.path)["metadata"]["resourceVersion"]
    sets.create("s", spec(1) | {"template": template(LABELS, container=ports, nodeName=node)})
    seen: dict[str, str] = {}
    for kind, pod in rest.events(pods.path, resourceVersion=version_, timeoutSeconds=30, labelSelector="app=stateful"):
        seen[pod["metadata"]["uid"]] = kind if kind == "DELETED" else pod["status"].get("phase", "")
        if len(seen) > 1:
            break
    assert next(iter(seen.values())) == "DELETED"
    pods.delete("blocker")
    sets.until("s", readyReplicas=1)


@upstream(
    "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should perform rolling updates and roll backs of template modifications [Conformance]"
)
def test_an_update_goes_from_the_last_pod_to_the_first_and_back(rest, sets, pods, cluster, namespace):
    sets.create("s", spec(3, podManagementPolicy="Parallel"))
    found = sets.until("s", readyReplicas=3, currentReplicas=3)
    first = found["status"]["currentRevision"]
    assert found["status"]["updateRevision"] == first

    def revisions() -> dict[str, str]:
        return {p["metadata"]["name"]: p["metadata"]["labels"]["controller-revision-hash"] for p in pods.list()}

    assert set(revisions().values()) == {first}
    version_ = rest.ok("GET", pods.path)["metadata"]["resourceVersion"]
    sets.strategic("s", version("2"))
    second = sets.until("s", readyReplicas=3, updatedReplicas=3, currentReplicas=3)["status"]["currentRevision"]
    assert second != first
    assert set(revisions().values()) == {second}
    going = []
    for kind, pod in rest.events(pods.path, resourceVersion=version_, timeoutSeconds=5):
        if kind == "DELETED":
            going.append(pod["metadata"]["name"])
        if len(going) == 3:
            break
    assert going == ["s-2", "s-1", "s-0"]

    def kubectl(*words: str) -> str:
        return cluster.kubectl("-n", namespace, "rollout", *words)

    assert kubectl("history", "statefulset/s").split()[-4:] == ["1", "<none>", "2", "<none>"]
    kubectl("undo", "statefulset/s")
    assert "complete" in kubectl("status", "statefulset/s", "--timeout=40s")
    assert set(revisions().values()) == {first}
    held = Kind(rest, "apps/v1", "controllerrevisions", namespace).list("app=stateful")
    assert {each["metadata"]["name"]: each["revision"] for each in held} == {first: 3, second: 2}


def test_pods_have_names_that_dns_knows(rest, sets, pods, cluster, namespace):
    services = Kind(rest, "v1", "services", namespace)
    services.create("test", {"clusterIP": "None", "selector": LABELS, "ports": [{"port": 80}]})
    sets.create("s", spec(2, ordinals={"start": 5}))
    sets.until("s", readyReplicas=2)
    assert [pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] for pod in pods.list()] == ["5", "6"]
    read = ("exec", "s-6", "--", "wget", "-q", "-O", "-", f"http://s-5.test.{namespace}.svc.cluster.local/")
    rest.until(f"{services.path}/test", lambda _: "s-5" in cluster.kubectl("-n", namespace, *read, check=False))


@upstream(
    "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should list, patch and delete a collection of StatefulSets [Conformance]"
)
def test_a_collection_is_listed_patched_and_deleted(sets):
    sets.create("p", spec(1))
    sets.until("p", readyReplicas=1)
    patch = {"metadata": {"labels": {"test-ss": "patched"}}, "spec": {"replicas": 2}}
    assert sets.strategic("p", patch)["metadata"]["labels"]["test-ss"] == "patched"
    sets.until("p", readyReplicas=2)
    check_collection(sets, unique("s"), spec(1))


@upstream(
    "[sig-apps] StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should validate Statefulset Status endpoints [Conformance]"
)
def test_the_status_is_read_replaced_and_patched(sets):
    sets.create("s", spec(1))
    sets.until("s", readyReplicas=1)
    check_status_verbs(sets, "s")


def test_a_template_that_cannot_run_is_mended(sets, pods):
    sets.create("s", spec(2))
    sets.until("s", readyReplicas=2)
    image = TEMPLATE["spec"]["containers"][0]["image"]

    def use(name: str) -> None:
        container = {"name": "c", "image": name}
        sets.strategic("s", {"spec": {"template": {"spec": {"containers": [container]}}}})

    use("nowhere.invalid/none:1")
    sets.until("s", readyReplicas=1, updatedReplicas=1)
    use(image)
    sets.until("s", readyReplicas=2, updatedReplicas=2)
