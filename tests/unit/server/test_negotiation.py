"""The Accept header: which encodings and shapes answer it, and when there is none."""

from __future__ import annotations

import orjson
import pytest
import yaml

from tiphys.api import protobuf

PROTOBUF = "application/vnd.kubernetes.protobuf"
MAPS = "/api/v1/namespaces/default/configmaps"
META = "as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


async def answer(api, accept, path=f"{MAPS}/a", **query):
    response = await api.respond("GET", path, accept=accept, **query)
    assert response.status == 200, response.body
    return response


@pytest.fixture
async def stored(api):
    return await api.ok("POST", MAPS, CONFIG)


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("application/yaml", "application/yaml"),
        ("application/yaml;q=0.5, application/json;q=0.4", "application/yaml"),
        (PROTOBUF, PROTOBUF),
        (f"{PROTOBUF},application/json", "application/json"),
        (f"{PROTOBUF}, */*", "application/json"),
        (f"{PROTOBUF};{META}", PROTOBUF),
    ],
)
async def test_the_encoding_follows_the_accept_header(api, stored, accept, media):
    response = await answer(api, accept)
    assert response.content_type == media


async def test_yaml_and_protobuf_say_what_json_says(api, stored):
    assert yaml.safe_load((await answer(api, "application/yaml")).body) == stored
    assert protobuf.decode((await answer(api, PROTOBUF)).body) == stored
    listed = protobuf.decode((await answer(api, PROTOBUF, MAPS)).body)
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a"]
    assert listed["kind"] == "ConfigMapList"


async def test_metadata_only_travels_as_protobuf_too(api, stored):
    partial = protobuf.decode((await answer(api, f"{PROTOBUF};{META}")).body)
    assert partial == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": stored["metadata"]
    }  # fmt: skip
    mixed = f"{PROTOBUF};{META},application/json;{META},application/json"
    assert orjson.loads((await answer(api, mixed)).body)["kind"] == "PartialObjectMetadata"


async def test_a_watch_in_protobuf_is_a_row_of_frames(api, stored):
    response = await answer(api, PROTOBUF, MAPS, watch="1", timeoutSeconds="1")
    assert response.content_type == f"{PROTOBUF};stream=watch"
    chunk = await anext(response.stream)
    await response.stream.aclose()
    length = int.from_bytes(chunk[:4], "big")
    assert chunk[4 : 4 + length].startswith(b"\x0a\x05ADDED")


async def test_errors_come_in_the_encoding_too(api):
    response = await api.respond("GET", f"{MAPS}/none", accept=PROTOBUF)
    assert response.status == 404
    assert protobuf.decode(response.body)["reason"] == "NotFound"


@pytest.mark.parametrize("accept", ["text/html", "application/cbor", f"application/json;{META[:-1]}9", "x"])
async def test_what_nobody_serves_is_not_acceptable(api, stored, accept):
    code, status = await api("GET", f"{MAPS}/a", accept=accept)
    assert (code, status["reason"]) == (406, "NotAcceptable")


async def test_nothing_is_stored_by_a_write_whose_answer_is_not_acceptable(api):
    code, _ = await api("POST", MAPS, CONFIG, accept="text/html")
    assert code == 406
    assert (await api("GET", f"{MAPS}/a"))[0] == 404


async def test_a_review_has_no_rows(api):
    code, status = await api(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", REVIEW,
        accept="application/json;as=Table;g=meta.k8s.io;v=v1",
    )  # fmt: skip
    assert (code, status["reason"]) == (406, "NotAcceptable")


async def test_tables_are_not_served_as_protobuf(api):
    code, status = await api(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", accept=f"{PROTOBUF};as=Table;g=x;v=v1"
    )
    assert (code, status["reason"]) == (406, "NotAcceptable")
