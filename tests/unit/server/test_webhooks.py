"""Admission webhooks as a client meets them, with an exchange of bytes instead of HTTPS."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from tests.unit.server.conftest import Api, serving
from tiphys.api.http import JSON_PATCH, User
from tiphys.base import metrics
from tiphys.server.webhook_client import Destination, WebhookError

_GROUP = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
Answer = Callable[[Any], Any]


def allow(review: Any) -> Any:
    return {"uid": review["request"]["uid"], "allowed": True}


def deny(**status: Any) -> Answer:
    def answer(review: Any) -> Any:
        found = {"uid": review["request"]["uid"], "allowed": False}
        return found | ({"status": status} if status else {})

    return answer


def patch(*operations: Any) -> Answer:
    def answer(review: Any) -> Any:
        encoded = base64.b64encode(orjson.dumps(operations)).decode()
        return allow(review) | {"patchType": "JSONPatch", "patch": encoded}

    return answer


def label(key: str, value: str = "yes") -> Answer:
    return patch({"op": "add", "path": "/metadata/labels", "value": {key: value}})


@dataclass
class Webhooks:
    """The servers behind the webhooks: an answer by host; `asked` are the reviews they got, with the host."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def __call__(self, destination: Destination, body: bytes) -> tuple[int, bytes]:
        host = urlsplit(destination.url).hostname or ""
        review = orjson.loads(body)
        self.asked.append((host, review))
        if host not in self.answers:
            raise WebhookError(f'Post "{destination.url}": connection refused')
        found = self.answers[host](review)
        response = await found if asyncio.iscoroutine(found) else found
        if isinstance(response, tuple):
            return response
        return 200, orjson.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response})

    async def close(self) -> None: ...

    def hosts(self) -> list[str]:
        return [host for host, _ in self.asked]


@dataclass
class Setup:
    api: Api
    webhooks: Webhooks

    async def hook(self, kind: str, name: str, answer: Answer | None = None, **more: Any) -> None:
        """A configuration with one webhook for configmaps, served by the host NAME."""
        if answer is not None:
            self.webhooks.answers[name] = answer
        await self.configure(kind, name, webhook(name, **more))

    async def configure(self, kind: str, name: str, *webhooks: Any) -> None:
        body = {"metadata": {"name": name}, "webhooks": list(webhooks)}
        await self.api.ok("POST", f"{_GROUP}/{kind}webhookconfigurations", body)


def webhook(name: str, **more: Any) -> Any:
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
    return {
        "name": f"{name}.example.com", "clientConfig": {"url": f"https://{name}/x"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": [rule],
    } | more  # fmt: skip


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    webhooks = Webhooks()
    async with serving(post=webhooks) as api:
        await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield Setup(api, webhooks)


def config_map(name: str = "m", **meta: Any) -> Any:
    return {"metadata": {"name": name} | meta, "data": {"a": "b"}}


async def test_a_webhook_is_told_all_about_the_request(setup: Setup) -> None:
    await setup.hook("validating", "v", allow)
    user = User("ann", "7", ("system:masters",), {"team": ("red",)})
    await setup.api.ok("POST", MAPS, config_map(), user=user, fieldManager="me")
    (host, review), *rest = setup.webhooks.asked
    request = review["request"]
    assert host == "v"
    assert not rest
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert request["kind"] == request["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request["resource"] == request["requestResource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (request["operation"], request["name"], request["namespace"]) == ("CREATE", "m", "default")
    assert request["userInfo"] == {
        "username": "ann",
        "uid": "7",
        "groups": ["system:masters"],
        "extra": {"team": ["red"]},
    }
    assert request["object"]["data"] == {"a": "b"}
    assert request["oldObject"] is None
    assert request["dryRun"] is False
    assert request["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"}


async def test_updates_patches_and_deletions_are_asked_about(setup: Setup) -> None:
    await setup.api.ok("POST", MAPS, config_map())
    await setup.hook("validating", "v", allow)
    await setup.api.ok("PUT", f"{MAPS}/m", config_map() | {"data": {"a": "c"}})
    await setup.api.ok("PATCH", f"{MAPS}/m", [{"op": "add", "path": "/data/d", "value": "e"}], content_type=JSON_PATCH)
    await setup.api.ok("DELETE", MAPS, {"gracePeriodSeconds": 0})
    update, patched, deleted = (review["request"] for _, review in setup.webhooks.asked)
    assert (update["object"]["data"], update["oldObject"]["data"]) == ({"a": "c"}, {"a": "b"})
    assert [r["options"]["kind"] for r in (update, patched, deleted)] == [
        "UpdateOptions",
        "PatchOptions",
        "DeleteOptions",
    ]
    assert (deleted["operation"], deleted["name"], deleted["object"]) == ("DELETE", "m", None)
    assert deleted["oldObject"]["data"] == {"a": "c", "d": "e"}


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ({"message": "no way"}, 400, "denied the request: no way"),
        ({"reason": "Because"}, 400, "denied the request: Because"),
        ({"code": 403, "message": "no"}, 403, "denied the request: no"),
        ({"code": 200, "message": "no"}, 400, "denied the request: no"),
        ({}, 400, "denied the request without explanation"),
    ],
)
async def test_a_refusal_is_worded_as_upstream_words_it(setup: Setup, status: Any, code: int, message: str) -> None:
    await setup.hook("validating", "v", deny(**status))
    found, body = await setup.api("POST", MAPS, config_map())
    assert found == code
    assert body["message"] == f'admission webhook "v.example.com" {message}'
    assert body["status"] == "Failure"


async def test_a_mutating_webhook_changes_the_object_before_the_next_one_sees_it(setup: Setup) -> None:
    await setup.hook("mutating", "a", label("a"))
    await setup.hook("mutating", "b", patch({"op": "add", "path": "/metadata/labels/b", "value": "yes"}))
    await setup.hook("validating", "v", allow)
    made = await setup.api.ok("POST", MAPS, config_map())
    assert made["metadata"]["labels"] == {"a": "yes", "b": "yes"}
    assert setup.webhooks.hosts() == ["a", "b", "v"]
    assert setup.webhooks.asked[2][1]["request"]["object"]["metadata"]["labels"] == {"a": "yes", "b": "yes"}
    assert (await setup.api.ok("GET", f"{MAPS}/m"))["metadata"]["labels"] == {"a": "yes", "b": "yes"}


async def test_what_an_object_is_cannot_be_changed_and_unknown_fields_go(setup: Setup) -> None:
    operations = [
        {"op": "replace", "path": "/metadata/name", "value": "other"},
        {"op": "replace", "path": "/metadata/namespace", "value": "kube-system"},
        {"op": "add", "path": "/spook", "value": 1},
        {"op": "add", "path": "/data/c", "value": "d"},
    ]
    await setup.hook("mutating", "a", patch(*operations))
    made = await setup.api.ok("POST", MAPS, config_map())
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("m", "default")
    assert made["data"] == {"a": "b", "c": "d"}
    assert "spook" not in made


async def test_what_a_webhook_adds_gets_its_defaults(setup: Setup) -> None:
    container = {"name": "second", "image": "busybox"}
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    await setup.hook(
        "mutating", "a", patch({"op": "add", "path": "/spec/containers/-", "value": container}), rules=[rule]
    )
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "first", "image": "busybox"}]}}
    made = await setup.api.ok("POST", "/api/v1/namespaces/default/pods", pod)
    second = made["spec"]["containers"][1]
    assert second["terminationMessagePolicy"] == "File"
    # The service account plugin ran again, so the new container finds its token too.
    assert second["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"


async def test_an_update_through_the_main_endpoint_cannot_be_made_to_change_the_status(setup: Setup) -> None:
    rule = {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "first", "image": "busybox"}]}}
    made = await setup.api.ok("POST", "/api/v1/namespaces/default/pods", pod)
    await setup.hook("mutating", "a", patch({"op": "add", "path": "/status/message", "value": "x"}), rules=[rule])
    made["metadata"]["labels"] = {"a": "b"}
    updated = await setup.api.ok("PUT", "/api/v1/namespaces/default/pods/p", made)
    assert "message" not in updated["status"]
    assert setup.webhooks.hosts() == ["a"]


async def test_a_webhook_that_wishes_so_is_asked_again_after_a_later_change(setup: Setup) -> None:
    await setup.hook("mutating", "a", allow, reinvocationPolicy="IfNeeded")
    await setup.hook("mutating", "b", label("b"))
    await setup.hook("mutating", "c", allow, reinvocationPolicy="IfNeeded")
    await setup.api.ok("POST", MAPS, config_map())
    assert setup.webhooks.hosts() == ["a", "b", "c", "a"]


async def test_nobody_is_asked_again_without_a_change(setup: Setup) -> None:
    await setup.hook("mutating", "a", allow, reinvocationPolicy="IfNeeded")
    await setup.hook("mutating", "b", label("b"))
    await setup.api.ok("POST", MAPS, config_map(labels={"b": "yes"}))
    assert setup.webhooks.hosts() == ["a", "b"]


async def test_a_webhook_that_fails_stops_the_request_or_is_passed_over(setup: Setup) -> None:
    await setup.hook("validating", "open", failurePolicy="Ignore")
    await setup.api.ok("POST", MAPS, config_map())
    await setup.hook("validating", "closed")
    code, body = await setup.api("POST", MAPS, config_map("n"))
    assert (code, body["reason"]) == (500, "InternalError")
    assert body["message"] == (
        'Internal error occurred: failed calling webhook "closed.example.com": failed to call webhook: '
        'Post "https://closed/x?timeout=10s": connection refused'
    )
    text = metrics.render().decode()
    assert 'apiserver_admission_webhook_fail_open_count{name="open.example.com",type="validating"}' in text
    assert 'error_type="calling_webhook_error"' in text


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda review: {"uid": "other", "allowed": True}, "expected response.uid="),
        (lambda review: None, "webhook response was absent"),
        (
            lambda review: allow(review) | {"patch": "W10="},
            "webhook returned response.patch but not response.patchType",
        ),
        (lambda review: allow(review) | {"patch": "%%", "patchType": "JSONPatch"}, "not base64"),
        (lambda review: allow(review) | {"patch": "W10=", "patchType": "Other"}, "unsupported patch type"),
        (lambda review: (404, b""), "the server could not find the requested resource"),
        (lambda review: (500, b"oops"), 'an error on the server ("oops")'),
        (lambda review: (200, b"<html>"), "not JSON"),
        (lambda review: (302, b""), "status 302"),
    ],
)
async def test_an_answer_that_breaks_the_contract_is_a_failure(setup: Setup, answer: Answer, why: str) -> None:
    await setup.hook("mutating", "a", answer)
    code, body = await setup.api("POST", MAPS, config_map())
    assert code == 500
    assert 'failed calling webhook "a.example.com": ' in body["message"]
    assert why in body["message"]


async def test_a_validating_webhook_may_not_change_anything(setup: Setup) -> None:
    await setup.hook("validating", "v", label("a"))
    code, body = await setup.api("POST", MAPS, config_map())
    assert code == 500
    assert "validating webhook may not return response.patch" in body["message"]


async def test_a_patch_that_does_not_apply_is_an_internal_error(setup: Setup) -> None:
    await setup.hook("mutating", "a", patch({"op": "remove", "path": "/nope"}), failurePolicy="Ignore")
    code, _ = await setup.api("POST", MAPS, config_map())
    assert code == 500


async def test_a_dry_run_is_refused_where_a_webhook_has_side_effects_in_it(setup: Setup) -> None:
    await setup.hook("mutating", "a", allow, sideEffects="NoneOnDryRun")
    await setup.api.ok("POST", MAPS, config_map(), dryRun="All")
    assert setup.webhooks.asked[0][1]["request"]["dryRun"] is True
    assert setup.webhooks.asked[0][1]["request"]["options"]["dryRun"] == ["All"]


async def test_warnings_reach_the_client(setup: Setup) -> None:
    await setup.hook("validating", "v", lambda review: allow(review) | {"warnings": ["mind the gap"]})
    response = await setup.api.respond("POST", MAPS, config_map())
    assert response.headers["Warning"] == '299 - "mind the gap"'


async def test_validating_webhooks_are_asked_at_once(setup: Setup) -> None:
    both = asyncio.Barrier(2)

    async def wait(review: Any) -> Any:
        await both.wait()
        return allow(review)

    await setup.hook("validating", "v", wait)
    await setup.hook("validating", "w", wait)
    await setup.api.ok("POST", MAPS, config_map())


async def test_a_webhook_that_hangs_holds_up_only_its_own_requests(setup: Setup) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def hang(review: Any) -> Any:
        asked.set()
        await released.wait()
        return allow(review)

    await setup.hook("validating", "v", hang)
    stuck = asyncio.create_task(setup.api("POST", MAPS, config_map()))
    await asked.wait()
    await setup.api.ok("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    released.set()
    assert (await stuck)[0] == 201


async def test_configurations_of_webhooks_are_not_sent_to_webhooks(setup: Setup) -> None:
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}
    await setup.hook("validating", "v", rules=[rule])
    assert (await setup.api("POST", MAPS, config_map()))[0] == 500
    await setup.api.ok("DELETE", f"{_GROUP}/validatingwebhookconfigurations/v")
    await setup.api.ok("POST", MAPS, config_map())


async def test_the_object_comes_in_the_version_that_the_rule_names(setup: Setup) -> None:
    rule = {"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v2"], "resources": ["*"]}
    path = "/spec/metrics/0/resource/target/averageUtilization"
    await setup.hook("mutating", "a", patch({"op": "replace", "path": path, "value": 50}), rules=[rule])
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": reference, "maxReplicas": 3, "targetCPUUtilizationPercentage": 80}
    made = await setup.api.ok(
        "POST", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
        {"metadata": {"name": "web"}, "spec": spec},
    )  # fmt: skip
    request = setup.webhooks.asked[0][1]["request"]
    assert (request["kind"]["version"], request["requestKind"]["version"]) == ("v2", "v1")
    assert request["object"]["apiVersion"] == "autoscaling/v2"
    assert made["apiVersion"] == "autoscaling/v1"
    assert made["spec"]["targetCPUUtilizationPercentage"] == 50


async def test_scaling_is_about_a_scale(setup: Setup) -> None:
    rule = {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}
    await setup.hook("mutating", "a", patch({"op": "replace", "path": "/spec/replicas", "value": 2}), rules=[rule])
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}
    path = "/apis/apps/v1/namespaces/default/deployments"
    spec = {"selector": {"matchLabels": labels}, "template": template}
    await setup.api.ok("POST", path, {"metadata": {"name": "web"}, "spec": spec})
    scaled = await setup.api.ok("PUT", f"{path}/web/scale", {"metadata": {"name": "web"}, "spec": {"replicas": 9}})
    request = setup.webhooks.asked[0][1]["request"]
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert (request["subResource"], request["object"]["spec"]["replicas"]) == ("scale", 9)
    assert request["oldObject"]["spec"]["replicas"] == 1
    assert scaled["spec"]["replicas"] == 2


async def test_binding_and_evicting_are_asked_about_as_such(setup: Setup) -> None:
    rule = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*"]}
    pods = "/api/v1/namespaces/default/pods"
    spec = {"containers": [{"name": "first", "image": "busybox"}]}
    await setup.api.ok("POST", pods, {"metadata": {"name": "p"}, "spec": spec})
    await setup.hook("validating", "v", allow, rules=[rule])
    await setup.api.ok("POST", f"{pods}/p/binding", {"metadata": {"name": "p"}, "target": {"name": "node"}})
    await setup.api.ok("POST", f"{pods}/p/eviction", {"metadata": {"name": "p"}})
    requests = [review["request"] for _, review in setup.webhooks.asked]
    assert [(r["operation"], r["subResource"], r["kind"]["kind"]) for r in requests] == [
        ("CREATE", "binding", "Binding"), ("CREATE", "eviction", "Eviction"),
    ]  # fmt: skip
    assert requests[0]["object"]["target"]["name"] == "node"


async def test_a_service_without_endpoints_is_told_of(setup: Setup) -> None:
    config = {"service": {"namespace": "default", "name": "hooks"}}
    await setup.configure("validating", "v", webhook("v", clientConfig=config))
    code, body = await setup.api("POST", MAPS, config_map())
    assert code == 500
    assert body["message"].endswith('Post "https://hooks.default.svc:443/?timeout=10s": service "hooks" not found')


async def test_the_time_of_all_webhooks_together_is_bounded(setup: Setup) -> None:
    async def hang(review: Any) -> Any:
        await asyncio.Event().wait()

    await setup.hook("mutating", "a", hang, failurePolicy="Ignore")
    code, body = await setup.api("POST", MAPS, config_map(), timeout="1ms")
    assert (code, body["reason"]) == (504, "Timeout")
    await setup.hook("mutating", "b", hang)
    code, body = await setup.api("POST", MAPS, config_map(), timeout="nonsense")
    assert code == 400


async def test_match_conditions_choose_and_fail_as_the_failure_policy_says(setup: Setup) -> None:
    chosen = {"name": "chosen", "expression": "object.metadata.name.startsWith('a')"}
    await setup.hook("validating", "v", deny(), matchConditions=[chosen])
    await setup.api.ok("POST", MAPS, config_map("b"))
    assert (await setup.api("POST", MAPS, config_map("a")))[0] == 400
    broken = {"name": "broken", "expression": "object.data.nothing == 'x'"}
    await setup.hook("validating", "w", allow, matchConditions=[broken], failurePolicy="Ignore")
    await setup.api.ok("POST", MAPS, config_map("c"))
    await setup.hook("validating", "x", allow, matchConditions=[broken])
    code, answer = await setup.api("POST", MAPS, config_map("d"))
    assert (code, answer["reason"]) == (403, "Forbidden")
    assert setup.webhooks.hosts() == ["v"]
    wrong = webhook("y", matchConditions=[{"name": "wrong", "expression": "1 +"}])
    body = {"metadata": {"name": "y"}, "webhooks": [wrong]}
    code, answer = await setup.api("POST", f"{_GROUP}/validatingwebhookconfigurations", body)
    assert code == 422
    assert answer["details"]["causes"][0]["field"] == "webhooks[0].matchConditions[0].expression"


async def test_custom_resources_are_asked_about_and_pruned_after_a_change(setup: Setup) -> None:
    data = {"type": "object", "properties": {"kept": {"type": "string"}, "start": {"type": "string"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"data": data}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "ships", "kind": "Ship"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await setup.api.ok("POST", definitions, {"metadata": {"name": "ships.example.com"}, "spec": spec})
    ships = "/apis/example.com/v1/namespaces/default/ships"
    while (await setup.api("GET", ships))[0] != 200:
        await asyncio.sleep(0)
    rule = {"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["ships"]}
    added = [{"op": "add", "path": f"/data/{name}", "value": "yes"} for name in ("kept", "pruned")]
    await setup.hook("mutating", "a", patch(*added), rules=[rule | {"operations": ["CREATE"]}])
    ship = {"apiVersion": "example.com/v1", "kind": "Ship", "metadata": {"name": "argo"}, "data": {"start": "yes"}}
    made = await setup.api.ok("POST", ships, ship)
    assert made["data"] == {"start": "yes", "kept": "yes"}
    await setup.hook("validating", "v", deny(message="not this ship"), rules=[rule])
    for method, path, body in (
        ("POST", ships, ship),
        ("PUT", f"{ships}/argo", made),
        ("DELETE", f"{ships}/argo", None),
    ):
        code, answer = await setup.api(method, path, body)
        assert (code, answer["message"]) == (
            400, 'admission webhook "v.example.com" denied the request: not this ship',
        ), method  # fmt: skip


async def test_a_condition_that_does_not_compile_is_told_of(setup: Setup) -> None:
    wrong = webhook("y", matchConditions=[{"name": "wrong", "expression": "... [] bad expression"}])
    body = {"metadata": {"name": "y"}, "webhooks": [wrong]}
    code, answer = await setup.api("POST", f"{_GROUP}/mutatingwebhookconfigurations", body)
    assert code == 422
    assert "compilation failed" in answer["message"]
