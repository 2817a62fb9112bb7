from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from real_cluster import IMAGE

from conformance.hooks import Hooks, allowed, denied, patched, serving
from conformance.marks import upstream
from conformance.test_custom_resources import custom, definition

pytestmark = pytest.mark.root

API = "/apis/admissionregistration.k8s.io/v1"
MUTATING, VALIDATING = f"{API}/mutatingwebhookconfigurations", f"{API}/validatingwebhookconfigurations"


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[Hooks]:
    with serving(tmp_path) as found:
        yield found


@pytest.fixture
def configure(rest, hooks, namespace):
    """`configure(collection, name, webhooks)` creates a configuration and takes it away at the end."""
    made: list[str] = []

    def create(collection: str, name: str, *webhooks: dict) -> dict:
        full = f"{name}-{namespace}"
        labels = {"e2e": namespace}
        answer = rest.ok("POST", collection, {"metadata": {"name": full, "labels": labels}, "webhooks": list(webhooks)})
        made.append(f"{collection}/{full}")
        return answer

    yield create
    for path in made:
        rest("DELETE", path)


@pytest.fixture
def hook(hooks, namespace):
    """A webhook for what is in the test's namespace."""

    def make(name: str, path: str, resource: str = "configmaps", group: str = "", **facts) -> dict:
        rule = {"operations": ["CREATE"], "apiGroups": [group], "apiVersions": ["*"], "resources": [resource]}
        rule |= facts.pop("rule", {})
        selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        return {
            "name": f"{name}.k8s.io", "clientConfig": hooks.client(path), "rules": [rule], "sideEffects": "None",
            "admissionReviewVersions": ["v1", "v1beta1"], "namespaceSelector": selector, **facts,
        }  # fmt: skip

    return make


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def add_data(key: str, needs: str = "") -> object:
    def decide(request: dict) -> dict:
        data = request["object"].get("data") or {}
        if needs and needs not in data:
            return allowed()
        return patched({"op": "add", "path": f"/data/{key}", "value": "yes"})

    return decide


def config(name: str, **data: str) -> dict:
    return {"metadata": {"name": name}, "data": {"mutation-start": "yes", **data}}


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny pod and configmap creation [Conformance]"
)
def test_pods_and_configmaps_are_denied(rest, hooks, hook, configure, maps, namespace, cluster):
    def pods(request: dict) -> dict:
        pod = request["object"]
        if pod["metadata"]["name"] == "hang":
            hooks.released.wait(30)
        bad = any("webhook-disallow" in container["name"] for container in pod["spec"]["containers"])
        return denied("the pod contains unwanted container name") if bad else allowed()

    def configmaps(request: dict) -> dict:
        bad = (request["object"].get("data") or {}).get("webhook-e2e-test") == "webhook-disallow"
        return denied("the configmap contains unwanted key and value") if bad else allowed()

    hooks.decisions |= {"/pods": pods, "/configmaps": configmaps}
    both = {"operations": ["CREATE", "UPDATE"]}
    configure(
        VALIDATING, "deny", hook("deny-pods", "/pods", "pods", timeoutSeconds=1),
        hook("deny-configmaps", "/configmaps", rule=both),
    )  # fmt: skip
    path = f"/api/v1/namespaces/{namespace}/pods"
    spec = {"containers": [{"name": "webhook-disallow", "image": IMAGE}]}
    answer = rest("POST", path, {"metadata": {"name": "p"}, "spec": spec})
    assert answer.code == 403 or answer.code == 400
    assert "the pod contains unwanted container name" in answer.body["message"]
    spec["containers"][0]["name"] = "fine"
    answer = rest("POST", path, {"metadata": {"name": "hang"}, "spec": spec})
    assert answer.code == 500
    assert "deadline" in answer.body["message"] or "timeout" in answer.body["message"].lower()
    assert rest("GET", f"{path}/hang").code == 404
    bad = {"webhook-e2e-test": "webhook-disallow"}
    assert "unwanted key and value" in rest("POST", maps, {"metadata": {"name": "m"}, "data": bad}).body["message"]
    rest.ok("POST", maps, {"metadata": {"name": "m"}, "data": {"admit": "this"}})
    current = rest.ok("GET", f"{maps}/m")
    assert "unwanted" in rest("PUT", f"{maps}/m", {**current, "data": bad}).body["message"]
    media = "application/merge-patch+json"
    assert "unwanted" in rest("PATCH", f"{maps}/m", {"data": bad}, media=media).body["message"]
    # A namespace that the selector does not select is not asked about.
    other = f"/api/v1/namespaces/default/configmaps/{namespace}"
    rest.ok("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": namespace}, "data": bad})
    rest.ok("DELETE", other)


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny attaching pod [Conformance]"
)
def test_attaching_is_denied(rest, hooks, hook, configure, cluster, namespace):
    hooks.decisions["/pods/attach"] = lambda request: denied("attaching to pod 'to-be-attached-pod' is not allowed")
    rule = {"operations": ["CONNECT"]}
    configure(VALIDATING, "attach", hook("deny-attaching-pod", "/pods/attach", "pods/attach", rule=rule))
    name = "to-be-attached-pod"
    cluster.kubectl("-n", namespace, "run", name, f"--image={IMAGE}", "--env=VERSION=1")
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")
    told = cluster.kubectl("-n", namespace, "attach", name, "-i", "-c", name, check=False)
    assert "attaching to pod 'to-be-attached-pod' is not allowed" in told


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to deny custom resource creation, update and deletion [Conformance]"
)
def test_custom_resources_are_denied(rest, hooks, hook, configure, crds, group, namespace):
    crds(definition(group))
    foos = f"/apis/{group}/v1/namespaces/{namespace}/foos"

    def decide(request: dict) -> dict:
        obj = request.get("object") or request["oldObject"]
        bad = (obj.get("data") or {}).get("webhook-e2e-test") == "webhook-disallow"
        return denied("the custom resource contains unwanted data") if bad else allowed()

    hooks.decisions["/custom-resource"] = decide
    rest.ok("POST", foos, custom(group, "before", data={"webhook-e2e-test": "webhook-disallow"}))
    rule = {"operations": ["CREATE", "UPDATE", "DELETE"]}
    configure(VALIDATING, "custom", hook("deny-cr", "/custom-resource", "foos", group, rule=rule))
    bad = {"webhook-e2e-test": "webhook-disallow"}
    assert "unwanted data" in rest("POST", foos, custom(group, "a", data=bad)).body["message"]
    rest.ok("POST", foos, custom(group, "good", data={"key": "value"}))
    media = "application/merge-patch+json"
    assert "unwanted data" in rest("PATCH", f"{foos}/good", {"data": bad}, media=media).body["message"]
    assert "unwanted data" in rest("DELETE", f"{foos}/before").body["message"]
    rest.ok("GET", f"{foos}/before")


@upstream("[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate configmap [Conformance]")
def test_a_configmap_is_mutated_twice(rest, hooks, hook, configure, maps):
    hooks.decisions |= {
        "/one": add_data("mutation-stage-1", "mutation-start"),
        "/two": add_data("mutation-stage-2", "mutation-stage-1"),
    }
    configure(MUTATING, "stages", hook("stage-1", "/one"), hook("stage-2", "/two"))
    made = rest.ok("POST", maps, config("m"))
    assert made["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}


@upstream("[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource [Conformance]")
def test_a_custom_resource_is_mutated(rest, hooks, hook, configure, crds, group, namespace):
    crds(definition(group))
    hooks.decisions |= {
        "/one": add_data("mutation-stage-1", "mutation-start"),
        "/two": add_data("mutation-stage-2", "mutation-stage-1"),
    }
    configure(MUTATING, "cr", hook("cr-1", "/one", "foos", group), hook("cr-2", "/two", "foos", group))
    foos = f"/apis/{group}/v1/namespaces/{namespace}/foos"
    made = rest.ok("POST", foos, custom(group, "a", data={"mutation-start": "yes"}))
    assert made["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should mutate custom resource with pruning [Conformance]"
)
def test_what_a_webhook_adds_is_pruned_by_the_schema(rest, hooks, hook, configure, crds, group, namespace):
    texts = {name: {"type": "string"} for name in ("mutation-start", "mutation-stage-1")}
    data = {"type": "object", "properties": texts}
    crds(definition(group, schema={"type": "object", "properties": {"data": data}}))
    hooks.decisions |= {"/one": add_data("mutation-stage-1"), "/two": add_data("mutation-stage-2")}
    configure(MUTATING, "prune", hook("cr-1", "/one", "foos", group), hook("cr-2", "/two", "foos", group))
    foos = f"/apis/{group}/v1/namespaces/{namespace}/foos"
    made = rest.ok("POST", foos, custom(group, "a", data={"mutation-start": "yes"}))
    assert made["data"] == {"mutation-start": "yes", "mutation-stage-1": "yes"}


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should not be able to mutate or prevent deletion of webhook configuration objects [Conformance]"
)
def test_configurations_are_beyond_the_reach_of_webhooks(rest, hooks, hook, configure):
    hooks.decisions |= {
        "/deny": lambda request: denied("never"),
        "/add-label": lambda request: patched({"op": "add", "path": "/metadata/labels/added", "value": "x"}),
    }
    rule = {"operations": ["*"], "resources": ["*"]}
    everywhere = {"rule": rule, "group": "admissionregistration.k8s.io", "namespaceSelector": {}}
    configure(VALIDATING, "deny-all", hook("deny", "/deny", **everywhere))
    configure(MUTATING, "mutate-all", hook("label", "/add-label", **everywhere))
    for collection in (VALIDATING, MUTATING):
        made = configure(collection, "dummy", hook("dummy", "/deny", "invalid"))
        assert "added" not in made["metadata"]["labels"]
        rest.ok("DELETE", f"{collection}/{made['metadata']['name']}")


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] patching/updating a mutating webhook should work [Conformance]"
)
def test_a_changed_configuration_counts_at_once(rest, hooks, hook, configure, maps):
    hooks.decisions["/one"] = add_data("mutation-stage-1")
    made = configure(MUTATING, "change", hook("stage-1", "/one"))
    path = f"{MUTATING}/{made['metadata']['name']}"
    made["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    rest.ok("PUT", path, made)
    assert "mutation-stage-1" not in rest.ok("POST", maps, config("a"))["data"]
    operation = {"op": "replace", "path": "/webhooks/0/rules/0/operations/0", "value": "CREATE"}
    rest.ok("PATCH", path, [operation], media="application/json-patch+json")
    assert rest.ok("POST", maps, config("b"))["data"]["mutation-stage-1"] == "yes"


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] listing mutating webhooks should work [Conformance]"
)
def test_mutating_configurations_are_listed_and_deleted_together(rest, hooks, hook, configure, maps, namespace):
    hooks.decisions["/one"] = add_data("mutation-stage-1")
    for number in range(10):
        configure(MUTATING, f"list-{number}", hook(f"stage-{number}", "/one"))
    selector = {"labelSelector": f"e2e={namespace}"}
    assert len(rest.ok("GET", MUTATING, **selector)["items"]) == 10
    assert rest.ok("POST", maps, config("a"))["data"]["mutation-stage-1"] == "yes"
    rest.ok("DELETE", MUTATING, **selector)
    assert "mutation-stage-1" not in rest.ok("POST", maps, config("b"))["data"]


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] listing validating webhooks should work [Conformance]"
)
def test_validating_configurations_are_listed_and_deleted_together(rest, hooks, hook, configure, maps, namespace):
    hooks.decisions["/deny"] = lambda request: denied("the configmap contains unwanted key and value")
    for number in range(10):
        configure(VALIDATING, f"list-{number}", hook(f"deny-{number}", "/deny"))
    selector = {"labelSelector": f"e2e={namespace}"}
    assert len(rest.ok("GET", VALIDATING, **selector)["items"]) == 10
    assert "denied" in rest("POST", maps, config("a")).body["message"]
    rest.ok("DELETE", VALIDATING, **selector)
    rest.ok("POST", maps, config("a"))


def conditions(rest, collection: str, made: dict) -> None:
    first = [{"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}]
    assert made["webhooks"][0]["matchConditions"] == first
    made["webhooks"][0]["matchConditions"] = [
        {"name": "expression-2", "expression": "object.metadata.namespace == 'staging'"},
        {"name": "expression-3", "expression": "request.operation == 'CREATE'"},
    ]
    path = f"{collection}/{made['metadata']['name']}"
    rest.ok("PUT", path, made)
    assert rest.ok("GET", path)["webhooks"][0]["matchConditions"] == made["webhooks"][0]["matchConditions"]


FIRST = [{"name": "expression-1", "expression": "object.metadata.namespace == 'production'"}]


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update validating webhook configurations with match conditions [Conformance]"
)
def test_match_conditions_of_validating_webhooks(rest, hook, configure):
    conditions(rest, VALIDATING, configure(VALIDATING, "match", hook("match", "/none", matchConditions=FIRST)))


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should be able to create and update mutating webhook configurations with match conditions [Conformance]"
)
def test_match_conditions_of_mutating_webhooks(rest, hook, configure):
    conditions(rest, MUTATING, configure(MUTATING, "match", hook("match", "/none", matchConditions=FIRST)))


@upstream(
    "[sig-api-machinery] AdmissionWebhook [Privileged:ClusterAdmin] should reject mutating webhook configurations with invalid match conditions [Conformance]"
)
def test_wrong_match_conditions_are_refused(rest, hook):
    for collection in (MUTATING, VALIDATING):
        wrong = [{"name": "invalid-expression-1", "expression": "... [] bad expression"}]
        body = {"metadata": {"name": "wrong"}, "webhooks": [hook("wrong", "/none", matchConditions=wrong)]}
        answer = rest("POST", collection, body)
        assert answer.code == 422
        assert "compilation failed" in answer.body["message"]
