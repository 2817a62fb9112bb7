"""Decoding: what a client's body becomes, and what it is told about what it got wrong."""

from __future__ import annotations

import orjson
import pytest

from tiphys.api import check, facts
from tiphys.api.errors import BadRequest

POD = facts.schema("io.k8s.api.core.v1.Pod")
DEPLOYMENT = facts.schema("io.k8s.api.apps.v1.Deployment")
SECRET = facts.schema("io.k8s.api.core.v1.Secret")


def pod(**spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


def test_unknown_fields_are_dropped_and_named_with_their_paths():
    obj = pod(containers=[{"name": "a", "imagee": "x", "image": "y"}], foo=1)
    obj["bar"] = {}
    assert check.decode(POD, obj) == [
        'unknown field "spec.containers[0].imagee"',
        'unknown field "spec.foo"',
        'unknown field "bar"',
    ]
    assert obj == pod(containers=[{"name": "a", "image": "y"}])


def test_unknown_fields_are_dropped_in_silence_when_validation_is_off():
    obj = pod(containers=[], foo=1)
    assert check.decode(POD, obj, mode=check.IGNORE) == []
    assert "foo" not in obj["spec"]


def test_keys_of_maps_are_never_unknown():
    obj = pod(containers=[], nodeSelector={"any.example/key": "v"})
    assert check.decode(POD, obj) == []


def test_null_means_absent():
    obj = pod(containers=[{"name": "a", "image": None, "args": None}], nodeName=None)
    obj["metadata"]["creationTimestamp"] = None
    assert check.decode(POD, obj) == []
    assert obj == pod(containers=[{"name": "a"}])


def test_null_inside_a_map_or_list_is_the_zero_value():
    obj = pod(containers=[{"name": "a", "args": ["x", None]}])
    obj["metadata"]["labels"] = {"a": None, "b": "c"}
    check.decode(POD, obj)
    assert obj["metadata"]["labels"] == {"a": "", "b": "c"}
    assert obj["spec"]["containers"][0]["args"] == ["x", ""]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"containers": "x"}, "string into Go struct field PodSpec.spec.containers of type []v1.Container"),
        ({"containers": [{"name": 1}]}, "number into Go struct field Container.spec.containers.name of type string"),
        ({"priority": 1.5}, "number 1.5 into Go struct field PodSpec.spec.priority of type int32"),
        ({"priority": 2**31}, "number 2147483648 into Go struct field PodSpec.spec.priority of type int32"),
        ({"hostNetwork": "yes"}, "string into Go struct field PodSpec.spec.hostNetwork of type bool"),
        ({"nodeSelector": {"a": True}}, "bool into Go struct field PodSpec.spec.nodeSelector of type string"),
        ({"nodeSelector": []}, "array into Go struct field PodSpec.spec.nodeSelector of type map[string]string"),
        (
            {"securityContext": []},
            "array into Go struct field PodSpec.spec.securityContext of type v1.PodSecurityContext",
        ),
    ],
)
def test_wrong_types_are_refused_in_the_words_of_upstream(spec, message):
    with pytest.raises(BadRequest) as refused:
        check.decode(POD, pod(**spec))
    head = 'Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal '
    assert refused.value.message == head + message


def test_an_object_is_asked_for():
    with pytest.raises(BadRequest):
        check.decode(POD, [])


def test_integers_may_use_their_whole_range():
    obj = pod(activeDeadlineSeconds=2**63 - 1, priority=-(2**31))
    assert check.decode(POD, obj) == []
    with pytest.raises(BadRequest, match="int64"):
        check.decode(POD, pod(activeDeadlineSeconds=float(2**63)))


def test_quantities_become_canonical_and_bad_ones_are_refused():
    obj = pod(containers=[{"name": "a", "resources": {"requests": {"cpu": 0.5, "memory": "1024Ki"}}}])
    check.decode(POD, obj)
    assert obj["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Mi"}
    with pytest.raises(BadRequest, match="quantities must match the regular expression"):
        check.decode(POD, pod(overhead={"cpu": "lots"}))


def test_times_become_canonical_and_bad_ones_are_refused():
    obj = pod()
    obj["metadata"]["creationTimestamp"] = "2024-01-02T03:04:05.678+02:00"
    check.decode(POD, obj)
    assert obj["metadata"]["creationTimestamp"] == "2024-01-02T01:04:05Z"
    obj["metadata"]["creationTimestamp"] = "yesterday"
    with pytest.raises(BadRequest, match='parsing time "yesterday"'):
        check.decode(POD, obj)


@pytest.mark.parametrize(("data", "offset"), [("abc$", 3), ("abc", 0), ("YWJjZ", 4), ("a b=", 1)])
def test_secrets_hold_base64(data, offset):
    obj = {"apiVersion": "v1", "kind": "Secret", "data": {"good": "YWJj", "wrapped": "YW\nJj", "bad": data}}
    with pytest.raises(BadRequest) as refused:
        check.decode(SECRET, obj)
    assert refused.value.message.endswith(f"illegal base64 data at input byte {offset}")


def test_good_base64_passes_even_in_lines():
    obj = {"apiVersion": "v1", "kind": "Secret", "data": {"good": "YWJj", "wrapped": "YW\nJj", "empty": ""}}
    assert check.decode(SECRET, obj) == []


def test_int_or_string_takes_both_and_nothing_else():
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}},
    }
    assert check.decode(DEPLOYMENT, deployment) == []
    deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"] = True
    with pytest.raises(BadRequest, match=r"bool into .*maxSurge of type intstr.IntOrString"):
        check.decode(DEPLOYMENT, deployment)


def test_free_form_fields_keep_everything():
    obj = {"kind": "ControllerRevision", "apiVersion": "apps/v1", "data": {"a": None, "b": [{"c": 1}]}, "revision": 1}
    assert check.decode(facts.schema("io.k8s.api.apps.v1.ControllerRevision"), obj) == []
    assert obj["data"] == {"a": None, "b": [{"c": 1}]}


def test_duplicate_keys_are_named_and_the_last_one_wins():
    obj, duplicates = check.loads_strict(b'{"spec": {"replicas": 1, "replicas" : 2, "list": [{"x": 1, "x": 2}]}}')
    assert obj == {"spec": {"replicas": 2, "list": [{"x": 2}]}}
    assert duplicates == ['duplicate field "spec.replicas"', 'duplicate field "spec.list[0].x"']


def test_text_that_looks_like_a_key_is_no_duplicate():
    obj, duplicates = check.loads_strict(rb'{"a": "\": \":", "b": {"a": 1}}')
    assert (obj, duplicates) == ({"a": '": ":', "b": {"a": 1}}, [])


@pytest.mark.parametrize(
    "body",
    [
        {"annotations": {"last": '{"a":1,"b":{"c":"d"}}'}},
        {"a\\": 1, "b": "\\"},
        {"deep": r'{"a":"{\"b\":1}"}'},
        {'quoted"': {"": 1}},
    ],
)
def test_json_inside_text_has_no_duplicates(body):
    assert check.loads_strict(orjson.dumps(body)) == (body, [])


def test_a_duplicate_is_found_beside_text_that_hides_a_key():
    obj, duplicates = check.loads_strict(rb'{"a\\": 1, "b": 1, "b": 2, "c": "\":"}')
    assert (obj["b"], duplicates) == (2, ['duplicate field "b"'])


def test_what_is_not_json_is_a_bad_request():
    with pytest.raises(BadRequest):
        check.loads_strict(b'{"a":')


def test_missing_fields_are_told_only_to_those_who_ask():
    obj = pod(containers=[{"image": "x"}])
    assert check.decode(POD, obj) == []
    assert [error.path for error in check.missing(POD, obj)] == ["spec.containers[0].name"]


def test_every_definition_builds():
    for name in facts.names():
        assert facts.schema(name).name == name


def test_the_facts_that_merging_rests_on():
    ports = POD.at("spec", "containers", "ports")
    assert (ports.list_type, ports.list_map_keys, ports.patch_merge_key) == (
        "map",
        ("containerPort", "protocol"),
        "containerPort",
    )
    assert ports.items.properties["protocol"].default == "TCP"
    assert POD.at("spec", "volumes").patch_strategy == ("merge", "retainKeys")
    assert POD.at("metadata", "finalizers").list_type == "set"
    assert POD.at("spec", "nodeSelector").map_type == "atomic"
    assert facts.gvk("apps", "v1", "Deployment") == "io.k8s.api.apps.v1.Deployment"
    assert facts.gvk("apps", "v1", "Nothing") is None


def test_prose_has_the_descriptions():
    prose = facts.prose()
    assert prose is not None
    assert prose["io.k8s.api.core.v1.Pod"]["description"]


def test_lists_and_maps_that_hold_nothing_are_left_out_as_go_leaves_them_out():
    obj = pod(containers=[{"name": "c", "image": "i", "env": [], "resources": {}}], nodeSelector={}, tolerations=[])
    obj["metadata"] |= {"labels": {}, "annotations": {}, "finalizers": []}
    assert check.decode(POD, obj) == []
    assert obj["metadata"] == pod()["metadata"]
    # A struct stays, and so does what must be there.
    assert obj["spec"] == {"containers": [{"name": "c", "image": "i", "resources": {}}]}
    empty = pod(containers=[])
    check.decode(POD, empty)
    assert empty["spec"] == {"containers": []}
