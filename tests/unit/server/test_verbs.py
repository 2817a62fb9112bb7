"""get, create, update, patch, delete, as a client sees them."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.http import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

CM = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"


def config(name: str = "a", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str = "web", replicas: int = 2) -> dict[str, Any]:
    container = {"name": "c", "image": "web:1", "ports": [{"containerPort": 80}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


async def pod(api: Any, name: str = "p", **spec: Any) -> Any:
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x"}], **spec}}
    return await api.ok("POST", PODS, body)


async def test_what_is_created_can_be_read_with_its_metadata(api):
    made = await api.ok("POST", CM, config(x="1"))
    meta = made["metadata"]
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) > 0
    assert meta["namespace"] == "default"
    assert await api.ok("GET", f"{CM}/a") == made


async def test_creating_twice_is_already_exists(api):
    await api.ok("POST", CM, config())
    code, status = await api("POST", CM, config())
    assert (code, status["reason"]) == (409, "AlreadyExists")
    assert status["message"] == 'configmaps "a" already exists'
    assert status["details"] == {"name": "a", "kind": "configmaps"}


async def test_generate_name_makes_a_new_name_each_time(api):
    body = {"metadata": {"generateName": "job-"}}
    names = {(await api.ok("POST", CM, body))["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


async def test_a_missing_object_is_not_found_in_upstreams_words(api):
    code, status = await api("GET", f"{DEPLOYMENTS}/nope")
    assert code == 404
    assert status["message"] == 'deployments.apps "nope" not found'
    assert status["details"] == {"name": "nope", "kind": "deployments", "group": "apps"}


async def test_update_needs_the_newest_resource_version(api):
    old = await api.ok("POST", CM, config(x="1"))
    new = await api.ok("PUT", f"{CM}/a", {**old, "data": {"x": "2"}})
    assert new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]
    code, status = await api("PUT", f"{CM}/a", {**old, "data": {"x": "3"}})
    assert (code, status["reason"]) == (409, "Conflict")
    assert "the object has been modified" in status["message"]
    assert (await api.ok("GET", f"{CM}/a"))["data"] == {"x": "2"}


async def test_an_update_that_changes_nothing_keeps_the_resource_version(api):
    made = await api.ok("POST", CM, config(x="1"))
    again = await api.ok("PUT", f"{CM}/a", made)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_the_uid_and_creation_time_cannot_be_changed(api):
    made = await api.ok("POST", CM, config())
    made["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z"
    assert (await api.ok("PUT", f"{CM}/a", made))["metadata"]["creationTimestamp"] != "2001-01-01T00:00:00Z"
    made["metadata"]["uid"] = "another"
    assert (await api("PUT", f"{CM}/a", made))[0] == 409


@pytest.mark.parametrize(
    ("media", "body"),
    [
        (MERGE_PATCH, {"data": {"x": None, "y": "2"}}),
        (STRATEGIC_PATCH, {"data": {"x": None, "y": "2"}}),
        (JSON_PATCH, [{"op": "remove", "path": "/data/x"}, {"op": "add", "path": "/data/y", "value": "2"}]),
    ],
)
async def test_every_kind_of_patch(api, media, body):
    await api.ok("POST", CM, config(x="1"))
    assert (await api.ok("PATCH", f"{CM}/a", body, content_type=media))["data"] == {"y": "2"}


async def test_a_strategic_patch_merges_containers_by_name(api):
    await api.ok("POST", DEPLOYMENTS, deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}
    new = await api.ok("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=STRATEGIC_PATCH)
    (container,) = new["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "web:2"
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


async def test_generation_counts_changes_of_the_spec_only(api):
    made = await api.ok("POST", DEPLOYMENTS, deployment())
    assert made["metadata"]["generation"] == 1
    patch = {"metadata": {"labels": {"a": "b"}}}
    assert (await api.ok("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=MERGE_PATCH))["metadata"]["generation"] == 1
    patch = {"spec": {"replicas": 5}}
    assert (await api.ok("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=MERGE_PATCH))["metadata"]["generation"] == 2


async def test_status_is_written_through_its_subresource_only(api):
    made = await api.ok("POST", DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}})
    assert made.get("status", {}).get("replicas") is None
    patch = {"spec": {"replicas": 7}, "status": {"replicas": 3}}
    new = await api.ok("PATCH", f"{DEPLOYMENTS}/web/status", patch, content_type=MERGE_PATCH)
    assert (new["spec"]["replicas"], new["status"]["replicas"]) == (2, 3)
    new = await api.ok("PATCH", f"{DEPLOYMENTS}/web", patch, content_type=MERGE_PATCH)
    assert (new["spec"]["replicas"], new["status"]["replicas"]) == (7, 3)


async def test_scale_shows_and_sets_the_replicas(api):
    await api.ok("POST", DEPLOYMENTS, deployment())
    scale = await api.ok("GET", f"{DEPLOYMENTS}/web/scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 2}, "app=web")
    scale["spec"]["replicas"] = 4
    assert (await api.ok("PUT", f"{DEPLOYMENTS}/web/scale", scale))["spec"] == {"replicas": 4}
    patch = {"spec": {"replicas": 6}}
    await api.ok("PATCH", f"{DEPLOYMENTS}/web/scale", patch, content_type=MERGE_PATCH)
    assert (await api.ok("GET", f"{DEPLOYMENTS}/web"))["spec"]["replicas"] == 6


async def test_apply_owns_fields_and_names_conflicts(api):
    body = config(x="1")
    made = await api.ok("PATCH", f"{CM}/a", body, content_type=APPLY_PATCH, fieldManager="one")
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("one", "Apply")
    body["data"]["x"] = "2"
    code, status = await api("PATCH", f"{CM}/a", body, content_type=APPLY_PATCH, fieldManager="two")
    assert code == 409
    assert status["message"].startswith('Apply failed with 1 conflict: conflict with "one": .data.x')
    await api.ok("PATCH", f"{CM}/a", body, content_type=APPLY_PATCH, fieldManager="two", force="true")
    body["data"] = {}
    await api.ok("PATCH", f"{CM}/a", body, content_type=APPLY_PATCH, fieldManager="two")
    assert not (await api.ok("GET", f"{CM}/a")).get("data")


async def test_dry_run_stores_nothing(api):
    made = await api.ok("POST", CM, config(), dryRun="All")
    assert made["metadata"]["uid"]
    assert (await api("GET", f"{CM}/a"))[0] == 404
    await api.ok("POST", CM, config(x="1"))
    await api.ok("PATCH", f"{CM}/a", {"data": {"x": "2"}}, content_type=MERGE_PATCH, dryRun="All")
    await api.ok("DELETE", f"{CM}/a", dryRun="All")
    assert (await api.ok("GET", f"{CM}/a"))["data"] == {"x": "1"}


async def test_deleting_tells_what_is_gone(api):
    made = await api.ok("POST", CM, config())
    status = await api.ok("DELETE", f"{CM}/a")
    assert status["status"] == "Success"
    assert status["details"]["uid"] == made["metadata"]["uid"]
    assert (await api("GET", f"{CM}/a"))[0] == 404


async def test_preconditions_guard_a_delete(api):
    await api.ok("POST", CM, config())
    code, status = await api("DELETE", f"{CM}/a", {"preconditions": {"uid": "other"}})
    assert code == 409
    assert "Precondition failed: UID in precondition: other" in status["message"]


async def test_finalizers_hold_an_object_until_they_go(api):
    body = config()
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await api.ok("POST", CM, body)
    held = await api.ok("DELETE", f"{CM}/a")
    assert held["metadata"]["deletionTimestamp"]
    await api.ok("PATCH", f"{CM}/a", {"metadata": {"finalizers": None}}, content_type=MERGE_PATCH)
    assert (await api("GET", f"{CM}/a"))[0] == 404


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_propagation_is_left_to_the_garbage_collector_as_a_finalizer(api, policy, finalizer):
    await api.ok("POST", CM, config())
    held = await api.ok("DELETE", f"{CM}/a", {"propagationPolicy": policy})
    assert held["metadata"]["finalizers"] == [finalizer]


async def test_a_pod_on_a_node_goes_gracefully_then_at_once(api):
    await pod(api, nodeName="n", terminationGracePeriodSeconds=7)
    waiting = await api.ok("DELETE", f"{PODS}/p")
    assert waiting["metadata"]["deletionGracePeriodSeconds"] == 7
    await api.ok("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert (await api("GET", f"{PODS}/p"))[0] == 404


async def test_delete_collection_takes_what_is_selected(api):
    for name in ("a", "b", "c"):
        body = config(name)
        body["metadata"]["labels"] = {"odd": "yes" if name != "b" else "no"}
        await api.ok("POST", CM, body)
    await api.ok("DELETE", CM, labelSelector="odd=yes")
    assert [item["metadata"]["name"] for item in (await api.ok("GET", CM))["items"]] == ["b"]


async def test_binding_places_a_pod_once(api):
    await pod(api)
    body = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    await api.ok("POST", f"{PODS}/p/binding", body)
    placed = await api.ok("GET", f"{PODS}/p")
    assert placed["spec"]["nodeName"] == "n1"
    assert placed["status"]["conditions"][-1]["type"] == "PodScheduled"
    code, status = await api("POST", f"{PODS}/p/binding", body)
    assert code == 409
    assert "already assigned to node" in status["message"]


async def test_eviction_respects_a_disruption_budget(api):
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    body = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    await api.ok("POST", PODS, body)
    await api.ok("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, content_type=MERGE_PATCH)
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}
    await api.ok("POST", budgets, budget)
    status = {"status": {"disruptionsAllowed": 0, "observedGeneration": 1}}
    await api.ok("PATCH", f"{budgets}/b/status", status, content_type=MERGE_PATCH)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}}
    code, answer = await api("POST", f"{PODS}/p/eviction", eviction)
    assert (code, answer["details"]["causes"][0]["reason"]) == (429, "DisruptionBudget")
    status["status"]["disruptionsAllowed"] = 1
    await api.ok("PATCH", f"{budgets}/b/status", status, content_type=MERGE_PATCH)
    await api.ok("POST", f"{PODS}/p/eviction", eviction)
    assert (await api("GET", f"{PODS}/p"))[0] == 404


@pytest.mark.parametrize(
    ("policy", "healthy", "code"),
    [(None, 1, 201), (None, 0, 429), ("AlwaysAllow", 0, 201), ("IfHealthyBudget", 0, 429)],
)
async def test_a_pod_that_is_not_ready_may_be_evicted_beside_the_budget(api, policy, healthy, code):
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    body = {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    await api.ok("POST", PODS, body)
    await api.ok("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, content_type=MERGE_PATCH)
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}, "unhealthyPodEvictionPolicy": policy}
    await api.ok("POST", budgets, {"metadata": {"name": "b"}, "spec": spec})
    status = {"disruptionsAllowed": 0, "observedGeneration": 1, "desiredHealthy": 1, "currentHealthy": healthy}
    await api.ok("PATCH", f"{budgets}/b/status", {"status": status}, content_type=MERGE_PATCH)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}}
    assert (await api("POST", f"{PODS}/p/eviction", eviction))[0] == code


async def test_an_evicted_pod_says_why_it_ends(api):
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    body = {
        "metadata": {"name": "p", "finalizers": ["example.com/wait"]},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    await api.ok("POST", PODS, body)
    await api.ok("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, content_type=MERGE_PATCH)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "default"}}
    await api.ok("POST", f"{PODS}/p/eviction", eviction)
    pod = await api.ok("GET", f"{PODS}/p")
    reasons = {c["type"]: c["reason"] for c in pod["status"]["conditions"]}
    assert reasons["DisruptionTarget"] == "EvictionByEvictionAPI"
    assert pod["metadata"]["deletionTimestamp"]


async def test_a_service_gets_an_address_and_gives_it_back(api):
    services = "/api/v1/namespaces/default/services"
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "type": "NodePort"}}
    made = await api.ok("POST", services, body)
    address, port = made["spec"]["clusterIP"], made["spec"]["ports"][0]["nodePort"]
    assert address.startswith("10.96.")
    assert 30000 <= port < 32768
    body = {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 80}], "clusterIP": address}}
    code, status = await api("POST", services, body)
    assert code == 422
    assert "provided IP is already allocated" in status["message"]
    await api.ok("DELETE", f"{services}/s")
    assert (await api.ok("POST", services, body))["spec"]["clusterIP"] == address


async def test_nothing_is_made_in_a_namespace_that_is_missing_or_going(api):
    assert (await api("POST", "/api/v1/namespaces/nope/configmaps", config()))[0] == 404
    await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "going"}})
    going = await api.ok("DELETE", "/api/v1/namespaces/going")
    assert going["status"]["phase"] == "Terminating"
    code, status = await api("POST", "/api/v1/namespaces/going/configmaps", config())
    assert code == 403
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    assert (await api("DELETE", "/api/v1/namespaces/kube-system"))[0] == 403


async def test_a_deletion_whose_body_asks_for_a_dry_run_deletes_nothing(api):
    await api.ok("POST", CM, config())
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]}
    await api.ok("DELETE", f"{CM}/a", options)
    await api.ok("DELETE", CM, options)
    assert (await api.ok("GET", f"{CM}/a"))["metadata"]["name"] == "a"
    code, _ = await api("DELETE", f"{CM}/a", {**options, "dryRun": ["Some"]})
    assert code == 400
    assert (await api("GET", f"{CM}/a"))[0] == 200


async def test_some_kinds_want_to_know_what_an_update_was_made_from(api):
    path = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}
    made = await api.ok("PUT", f"{path}/l", lease)
    code, status = await api("PUT", f"{path}/l", lease)
    assert code == 422
    assert "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update" in status["message"]
    await api.ok("PUT", f"{path}/l", made)
    await api.ok("POST", CM, config())
    await api.ok("PUT", f"{CM}/a", config(x="2"))


async def test_what_the_server_sets_belongs_to_nobody(api):
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": template}}
    made = await api.ok("POST", "/apis/batch/v1/namespaces/default/jobs", job, fieldManager="maker")
    (entry,) = made["metadata"]["managedFields"]
    assert made["spec"]["selector"]
    assert "f:selector" not in entry["fieldsV1"]["f:spec"]
    assert "f:parallelism" in entry["fieldsV1"]["f:spec"]
    # Whoever takes everything over that the maker owned, and then owns less, takes nothing away that must stay.
    made["metadata"]["managedFields"] = [{**entry, "operation": "Apply", "manager": "applier"}]
    await api.ok("PUT", "/apis/batch/v1/namespaces/default/jobs/j", made, fieldManager="applier")
    await api.ok(
        "PATCH", "/apis/batch/v1/namespaces/default/jobs/j", job, content_type=APPLY_PATCH, fieldManager="applier"
    )


async def test_a_generated_name_that_is_taken_is_generated_anew(api, monkeypatch):
    picks = iter(["aaaaa", "aaaaa", "aaaaa", "bbbbb"])
    monkeypatch.setattr("tiphys.server.objects.random.choices", lambda *_, **__: list(next(picks)))
    body = {"metadata": {"generateName": "m-"}}
    assert (await api.ok("POST", CM, body))["metadata"]["name"] == "m-aaaaa"
    assert (await api.ok("POST", CM, body))["metadata"]["name"] == "m-bbbbb"
    monkeypatch.setattr("tiphys.server.objects.random.choices", lambda *_, **__: list("aaaaa"))
    code, status = await api("POST", CM, body)
    assert (code, status["reason"]) == (409, "AlreadyExists")
    assert "not able to generate a unique name" in status["message"]
