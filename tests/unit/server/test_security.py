"""Who may do what: RBAC, the node authorizer, tokens, reviews, impersonation."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tiphys.api.http import User

RBAC = "/apis/rbac.authorization.k8s.io/v1"
JANE = User("jane", groups=("system:authenticated",))
NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
SECRETS = "/api/v1/namespaces/default/secrets"


async def allow(api: Any, user: str, verbs: list[str], *resources: str, names: list[str] | None = None) -> None:
    rule = {"apiGroups": ["*"], "resources": list(resources), "verbs": verbs} | (
        {"resourceNames": names} if names else {}
    )
    role = f"{RBAC}/namespaces/default/roles"
    await api.ok("POST", role, {"metadata": {"name": "r"}, "rules": [rule]})
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
    reference = {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]}
    await api.ok("POST", f"{RBAC}/namespaces/default/rolebindings", binding)


async def test_nobody_reads_anything_but_health_and_version(api):
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await api.respond("GET", path, user=None)).status == 200
    for path in ("/api", "/apis", "/api/v1/pods", "/metrics", "/openapi/v2"):
        assert (await api("GET", path, user=None))[0] == 401


async def test_an_authenticated_user_sees_discovery_and_nothing_else(api):
    await api.ok("GET", "/api", user=JANE)
    code, status = await api("GET", "/api/v1/namespaces/default/pods", user=JANE)
    assert code == 403
    assert status["message"] == (
        'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"'
    )


async def test_a_role_allows_what_it_says_where_it_is(api):
    await allow(api, "jane", ["get", "list"], "configmaps")
    await api.ok("GET", "/api/v1/namespaces/default/configmaps", user=JANE)
    assert (await api("GET", "/api/v1/namespaces/kube-system/configmaps", user=JANE))[0] == 403
    assert (await api("DELETE", "/api/v1/namespaces/default/configmaps", user=JANE))[0] == 403


async def test_a_revoked_right_is_gone_with_the_next_request(api):
    await allow(api, "jane", ["list"], "configmaps")
    await api.ok("GET", "/api/v1/namespaces/default/configmaps", user=JANE)
    await api.ok("DELETE", f"{RBAC}/namespaces/default/rolebindings/b")
    assert (await api("GET", "/api/v1/namespaces/default/configmaps", user=JANE))[0] == 403


async def test_subresources_need_rights_of_their_own(api):
    await allow(api, "jane", ["patch"], "deployments")
    path = "/apis/apps/v1/namespaces/default/deployments/web/scale"
    code, _ = await api("PATCH", path, {"spec": {"replicas": 1}}, user=JANE)
    assert code == 403


async def test_nobody_gives_rights_that_they_do_not_have(api):
    await allow(api, "jane", ["create", "get", "update"], "roles", "rolebindings")
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    role = {"metadata": {"name": "thief"}, "rules": [rule]}
    code, status = await api("POST", f"{RBAC}/namespaces/default/roles", role, user=JANE)
    assert code == 403
    assert "is attempting to grant RBAC permissions not currently held" in status["message"]
    reference = {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"}
    subject = {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "up"}, "roleRef": reference, "subjects": [subject]}
    assert (await api("POST", f"{RBAC}/namespaces/default/rolebindings", binding, user=JANE))[0] == 403


async def test_a_node_reads_the_secrets_of_its_own_pods_only(api):
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    for name in ("mine", "other"):
        await api.ok("POST", SECRETS, {"metadata": {"name": name}})
    container = {"name": "c", "image": "x", "envFrom": [{"secretRef": {"name": "mine"}}]}
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "containers": [container]}}
    await api.ok("POST", "/api/v1/namespaces/default/pods", pod)
    await api.ok("GET", f"{SECRETS}/mine", user=NODE)
    assert (await api("GET", f"{SECRETS}/other", user=NODE))[0] == 403
    assert (await api("GET", SECRETS, user=NODE))[0] == 403


async def test_a_node_writes_no_other_node(api):
    for name in ("n1", "n2"):
        await api.ok("POST", "/api/v1/nodes", {"metadata": {"name": name}})
    await api.ok(
        "PATCH", "/api/v1/nodes/n1/status", {"status": {}}, user=NODE, content_type="application/merge-patch+json"
    )
    patch = {"metadata": {"labels": {"a": "b"}}}
    code, _ = await api("PATCH", "/api/v1/nodes/n2", patch, user=NODE, content_type="application/merge-patch+json")
    assert code == 403


async def test_a_service_account_token_is_who_it_says_until_it_expires(api):
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await api.ok("POST", accounts, {"metadata": {"name": "robot"}})
    request = {"spec": {"expirationSeconds": 600}}
    issued = await api.ok("POST", f"{accounts}/robot/token", request)
    token = issued["status"]["token"]
    review = {"spec": {"token": token}}
    reviewed = await api.ok("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert reviewed["status"]["user"]["username"] == "system:serviceaccount:default:robot"
    tokens = api.assembled.tokens
    assert tokens.user(token).name == "system:serviceaccount:default:robot"
    assert tokens.user(token[:-4] + "AAAA") is None
    await api.clock.advance(601)
    assert tokens.user(token) is None


async def test_a_token_ends_with_its_account(api):
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await api.ok("POST", accounts, {"metadata": {"name": "robot"}})
    token = (await api.ok("POST", f"{accounts}/robot/token", {"spec": {}}))["status"]["token"]
    await api.ok("DELETE", f"{accounts}/robot")
    await api.assembled.cache.fresh()
    assert api.assembled.tokens.user(token) is None


@pytest.mark.parametrize(("verb", "allowed"), [("list", True), ("delete", False)])
async def test_access_reviews_answer_as_the_server_would(api, verb, allowed):
    await allow(api, "jane", ["list"], "configmaps")
    attributes = {"namespace": "default", "verb": verb, "resource": "configmaps"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    own = await api.ok("POST", path, {"spec": {"resourceAttributes": attributes}}, user=JANE)
    assert own["status"]["allowed"] is allowed
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    other = await api.ok("POST", path, {"spec": {"resourceAttributes": attributes, "user": "jane"}})
    assert other["status"]["allowed"] is allowed


async def test_who_am_i(api):
    review = await api.ok("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, user=JANE)
    assert review["status"]["userInfo"]["username"] == "jane"


async def test_impersonation_needs_the_right_to(api):
    request = {"impersonate-user": "jane"}
    from tiphys.api.http import Request

    path = "/api/v1/namespaces/default/pods"
    admin = User("admin", groups=("system:masters",))
    response = await api.assembled.server.handle(Request("GET", path, {}, request, b"", admin))
    assert response.status == 403
    assert 'User "jane" cannot list' in orjson.loads(response.body)["message"]
    response = await api.assembled.server.handle(Request("GET", path, {}, request, b"", JANE))
    assert 'cannot impersonate resource "users"' in orjson.loads(response.body)["message"]


async def test_who_may_only_patch_creates_nothing_by_applying(api):
    path = "/api/v1/namespaces/default/configmaps/new"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch", "update"]}
    role = {"metadata": {"name": "patcher"}, "rules": [rule]}
    await api.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "patcher"}
    reference = {"kind": "ClusterRole", "apiGroup": "rbac.authorization.k8s.io", "name": "patcher"}
    body = {"metadata": {"name": "patcher"}, "roleRef": reference, "subjects": [subject]}
    await api.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", body)
    user = User("patcher", groups=("system:authenticated",))
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}
    options = {"content_type": "application/apply-patch+yaml", "fieldManager": "m"}
    code, status = await api("PATCH", path, applied, user=user, **options)
    assert code == 403
    assert 'User "patcher" cannot create resource "configmaps"' in status["message"]
    await api.ok("PATCH", path, applied, **options)
    await api.ok("PATCH", path, applied, user=user, **options)
