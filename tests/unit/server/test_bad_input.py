"""Wrong requests get upstream's Status, and nothing is stored."""

from __future__ import annotations

import pytest

from tests.unit.server.test_verbs import CM, DEPLOYMENTS, config, deployment


async def revision(api):
    return api.assembled.cache.store.revision


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"{", 400, "the object provided is unrecognized"),
        (b"[]", 400, "the object provided is unrecognized"),
        (b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}', 400, "does not match the expected kind"),
        (b'{"apiVersion":"v9","metadata":{"name":"a"}}', 400, "does not match the expected API version"),
        (b'{"metadata":{"name":"a","namespace":"other"}}', 400, "does not match the namespace sent on the request"),
        (b'{"metadata":{"name":"a"},"data":{"x":1}}', 400, "cannot unmarshal number"),
        (b'{"metadata":{"name":"a","labels":["x"]}}', 400, "cannot unmarshal array"),
        (b'{"metadata":{"name":"UPPER"}}', 422, "a lowercase RFC 1123 subdomain must consist of"),
        (b'{"metadata":{"name":"a/b"}}', 422, "may not contain '/'"),
        (b'{"metadata":{}}', 422, "name or generateName is required"),
        (b'{"metadata":{"name":"a","labels":{"-x":"y"}}}', 422, "metadata.labels: Invalid value"),
        (b'{"metadata":{"name":"a","resourceVersion":"5"}}', 400, "resourceVersion should not be set"),
        (b"x" * (3 * 1024 * 1024 + 1), 413, "limit is 3145728 bytes"),
    ],
)
async def test_a_wrong_body_is_refused(api, body, code, text):
    before = await revision(api)
    answered, status = await api("POST", CM, body)
    assert answered == code
    assert text in status["message"]
    assert status["kind"] == "Status"
    assert await revision(api) == before


async def test_a_mistyped_field_names_its_path(api):
    body = deployment()
    body["spec"]["replicas"] = "three"
    code, status = await api("POST", DEPLOYMENTS, body)
    assert code == 400
    assert "spec.replicas" in status["message"]
    assert "int32" in status["message"]


async def test_an_invalid_object_lists_every_cause(api):
    body = deployment()
    body["spec"]["template"]["spec"]["containers"] = [{"name": "BAD"}]
    body["spec"]["selector"]["matchLabels"] = {"app": "other"}
    code, status = await api("POST", DEPLOYMENTS, body)
    assert code == 422
    assert status["reason"] == "Invalid"
    fields = [cause["field"] for cause in status["details"]["causes"]]
    assert "spec.template.spec.containers[0].name" in fields
    assert "spec.template.metadata.labels" in fields


async def test_unknown_fields_are_refused_warned_of_or_ignored(api):
    body = {**config(), "dat": {}}
    code, status = await api("POST", CM, body, fieldValidation="Strict")
    assert code == 400
    assert 'unknown field "dat"' in status["message"]
    response = await api.respond("POST", CM, body, fieldValidation="Warn")
    assert response.status == 201
    assert response.headers["Warning"] == '299 - "unknown field \\"dat\\""'
    response = await api.respond("POST", CM, {**body, "metadata": {"name": "b"}}, fieldValidation="Ignore")
    assert "Warning" not in response.headers
    assert "dat" not in await api.ok("GET", f"{CM}/a")


async def test_a_duplicate_key_is_refused_when_strict(api):
    body = b'{"metadata":{"name":"a"},"data":{"x":"1","x":"2"}}'
    code, status = await api("POST", CM, body, fieldValidation="Strict")
    assert code == 400
    assert 'duplicate field "data.x"' in status["message"]


async def test_unknown_media_types_are_refused(api):
    assert (await api("POST", CM, b"<xml/>", content_type="text/xml"))[0] == 415
    await api.ok("POST", CM, config())
    assert (await api("PATCH", f"{CM}/a", {}, content_type="application/json"))[0] == 415
    assert (await api("GET", CM, accept="text/html"))[0] == 406


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/nothings", 404),
        ("GET", "/apis/none.example.com/v1", 404),
        ("GET", f"{CM}/a/status", 404),
        ("POST", f"{CM}/a", 405),
        ("PUT", CM, 405),
        ("PUT", f"{CM}/missing", 404),
        ("GET", "/nowhere", 404),
    ],
)
async def test_wrong_places(api, method, path, code):
    assert (await api(method, path, config("missing") if method == "PUT" else None))[0] == code


async def test_a_json_patch_that_does_not_fit_changes_nothing(api):
    made = await api.ok("POST", CM, config(x="1"))
    media = "application/json-patch+json"
    patch = [{"op": "test", "path": "/data/x", "value": "2"}, {"op": "remove", "path": "/data/x"}]
    assert (await api("PATCH", f"{CM}/a", patch, content_type=media))[0] == 422
    assert (await api("PATCH", f"{CM}/a", [{"op": "nonsense", "path": "/x"}], content_type=media))[0] in (400, 422)
    assert await api.ok("GET", f"{CM}/a") == made


async def test_yaml_is_understood(api):
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: '1'\n"
    assert (await api.ok("POST", CM, body, content_type="application/yaml"))["data"] == {"x": "1"}


async def test_a_store_that_cannot_write_says_so_and_keeps_what_it_has(api):
    from tiphys.store import Unavailable

    await api.ok("POST", CM, config())
    store = api.assembled.cache.store

    async def full(*arguments, **options):
        raise Unavailable("disk full")

    kept, store.put = store.put, full
    code, status = await api("POST", CM, config("b"))
    assert code == 500
    assert "disk full" in status["message"]
    store.put = kept
    await api.ok("POST", CM, config("b"))


def nested(levels: int) -> bytes:
    return b'{"metadata":{"name":"deep"},"data":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


@pytest.mark.parametrize("levels", [300, 1000, 10_000, 100_000])
@pytest.mark.parametrize(
    ("method", "path", "media"),
    [
        ("POST", "/api/v1/namespaces/default/configmaps", "application/json"),
        ("POST", "/api/v1/namespaces/default/configmaps", "application/yaml"),
        ("PATCH", "/api/v1/namespaces/default/configmaps/x", "application/merge-patch+json"),
        ("PATCH", "/api/v1/namespaces/default/configmaps/x", "application/strategic-merge-patch+json"),
        ("PATCH", "/api/v1/namespaces/default/configmaps/x", "application/apply-patch+yaml"),
        ("DELETE", "/api/v1/namespaces/default/configmaps/x", "application/json"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/json"),
        ("PUT", "/apis/apps/v1/namespaces/default/deployments/x/scale", "application/json"),
    ],
)
async def test_bodies_of_many_levels_are_refused(api, levels, method, path, media):
    await api.ok("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "x"}})
    code, status = await api(method, path, nested(levels), content_type=media, fieldManager="m")
    assert code in (400, 404), status


async def test_a_json_patch_can_neither_deepen_nor_multiply_an_object_without_end(api):
    path = "/api/v1/namespaces/default/configmaps"
    await api.ok("POST", path, {"metadata": {"name": "x"}, "data": {"a": "b" * 1000}})
    copies = [{"op": "copy", "from": "/data", "path": f"/data/{number}"} for number in range(40)]
    media = "application/json-patch+json"
    code, status = await api("PATCH", f"{path}/x", copies, content_type=media)
    assert (code, "accumulated size" in status["message"]) == (422, True)
    deeper = [{"op": "add", "path": "/data" + "/a" * levels, "value": {}} for levels in range(1, 800)]
    code, _ = await api("PATCH", f"{path}/x", deeper, content_type=media)
    assert code == 400
