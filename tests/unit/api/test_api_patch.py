from __future__ import annotations

import copy

import pytest

from tiphys.api import facts
from tiphys.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from tiphys.api.patch import MAX_OPERATIONS, json_patch, merge_patch
from tiphys.api.strategic import strategic_patch

POD = facts.schema("io.k8s.api.core.v1.Pod")
DEPLOYMENT = facts.schema("io.k8s.api.apps.v1.Deployment")
SERVICE = facts.schema("io.k8s.api.core.v1.Service")


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # The table of RFC 7386, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target, patch, result):
    before = copy.deepcopy((target, patch))
    assert merge_patch(target, patch) == result
    assert (target, patch) == before


@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": 1}, [{"op": "add", "path": "/a", "value": None}], {"a": None}),
        ({"a": 1}, [{"op": "remove", "path": "/a"}], {}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": {"b": []}}], {"a": {"b": []}}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        (
            {"a": {"b": 1}},
            [{"op": "copy", "from": "/a", "path": "/c"}, {"op": "remove", "path": "/a/b"}],
            {"a": {}, "c": {"b": 1}},
        ),
        (
            {"a/b": 1, "c~d": 2},
            [{"op": "test", "path": "/a~1b", "value": 1}, {"op": "remove", "path": "/c~0d"}],
            {"a/b": 1},
        ),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"z": 1}}], {"z": 1}),
        ({"a": 1}, [{"op": "test", "path": "/absent", "value": None}], {"a": 1}),
        ({"": {"": 1}}, [{"op": "remove", "path": "//"}], {"": {}}),
    ],
)
def test_json_patch(document, operations, result):
    before = copy.deepcopy((document, operations))
    assert json_patch(document, operations) == result
    assert (document, operations) == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/x"},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/5", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "remove", "path": "/l/-"},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "test", "path": "/a", "value": True},
        {"op": "copy", "from": "/x", "path": "/y"},
        {"op": "move", "from": "/o", "path": "/o/p"},
        {"op": "explode", "path": "/a"},
        {"op": "add", "path": "/a"},
    ],
)
def test_an_operation_that_does_not_apply_is_unprocessable(operation):
    with pytest.raises(Invalid) as refused:
        json_patch({"a": 1, "l": [1], "o": {"p": 1}}, [operation])
    assert refused.value.code == 422


@pytest.mark.parametrize("operations", [{}, ["x"], [{"op": "add"}], [{"op": "add", "path": "a", "value": 1}]])
def test_what_is_no_json_patch_is_a_bad_request(operations):
    with pytest.raises(BadRequest):
        json_patch({}, operations)


def test_a_json_patch_has_a_limit():
    test = {"op": "test", "path": "", "value": {}}
    assert json_patch({}, [test] * MAX_OPERATIONS) == {}
    with pytest.raises(RequestEntityTooLarge):
        json_patch({}, [test] * (MAX_OPERATIONS + 1))


def containers(*items, **spec):
    return {"spec": {"containers": [{"name": i} if isinstance(i, str) else i for i in items], **spec}}


def names(pod):
    return [container["name"] for container in pod["spec"]["containers"]]


@pytest.mark.parametrize(
    ("server", "patch", "result"),
    [
        # Items that the patch names come in its order, before what the server does not place ahead of them.
        (containers("a", "b"), containers("b"), ["a", "b"]),
        (containers("a", "b"), containers("c"), ["c", "a", "b"]),
        (containers("a", "b", "c"), containers("c", "a"), ["b", "c", "a"]),
        (containers("a", "b"), containers({"name": "a", "$patch": "delete"}), ["b"]),
        (containers("a", "b"), containers({"$patch": "replace"}, "z"), ["z"]),
        (containers("a", "b"), {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}, ["b", "a"]),
        (
            containers("a", "b"),
            containers("c", **{"$setElementOrder/containers": [{"name": "a"}, {"name": "c"}, {"name": "b"}]}),
            ["a", "c", "b"],
        ),
        (
            containers("x", "a", "b"),
            containers({"name": "a", "$patch": "delete"}, **{"$setElementOrder/containers": [{"name": "b"}]}),
            ["x", "b"],
        ),
    ],
)
def test_lists_merge_by_their_key(server, patch, result):
    before = copy.deepcopy((server, patch))
    assert names(strategic_patch(POD, server, patch)) == result
    assert (server, patch) == before


def test_an_addition_takes_the_place_of_a_deletion_among_what_the_order_does_not_name():
    order = {"$setElementOrder/containers": [{"name": "d"}, {"name": "e"}]}
    patch = containers("e", {"name": "a", "$patch": "delete"}, **order)
    assert names(strategic_patch(POD, containers("d", "a", "b"), patch)) == ["d", "b", "e"]


def test_items_merge_field_by_field():
    server = containers({"name": "a", "image": "x", "args": ["1"], "env": [{"name": "A", "value": "1"}]})
    patch = containers({"name": "a", "args": ["2"], "env": [{"name": "B", "value": "2"}], "image": None})
    assert strategic_patch(POD, server, patch)["spec"]["containers"] == [
        {"name": "a", "args": ["2"], "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}
    ]


def test_ports_of_a_service_merge_by_port_alone():
    server = {"spec": {"ports": [{"port": 53, "protocol": "UDP", "name": "dns"}]}}
    patch = {"spec": {"ports": [{"port": 53, "protocol": "TCP"}]}}
    assert strategic_patch(SERVICE, server, patch)["spec"]["ports"] == [{"port": 53, "protocol": "TCP", "name": "dns"}]


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        ({"finalizers": ["c"]}, ["c", "a", "b"]),
        ({"finalizers": ["b"]}, ["a", "b"]),
        ({"$deleteFromPrimitiveList/finalizers": ["a"]}, ["b"]),
        (
            {
                "$deleteFromPrimitiveList/finalizers": ["a"],
                "$setElementOrder/finalizers": ["b", "c"],
                "finalizers": ["c"],
            },
            ["b", "c"],
        ),
        ({"finalizers": None}, None),
    ],
)
def test_lists_of_primitives(patch, result):
    patched = strategic_patch(POD, {"metadata": {"finalizers": ["a", "b"]}}, {"metadata": patch})
    assert patched["metadata"].get("finalizers") == result


def test_atomic_lists_are_replaced():
    server = {"spec": {"tolerations": [{"key": "a"}]}}
    assert strategic_patch(POD, server, {"spec": {"tolerations": [{"key": "b"}]}}) == {
        "spec": {"tolerations": [{"key": "b"}]}
    }


def test_directives_on_maps():
    server = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    recreate = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_patch(DEPLOYMENT, server, recreate) == {"spec": {"strategy": {"type": "Recreate"}}}
    replace = {"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}}
    assert strategic_patch(DEPLOYMENT, server, replace) == {"spec": {"strategy": {"type": "Recreate"}}}
    delete = {"spec": {"strategy": {"$patch": "delete"}}}
    assert strategic_patch(DEPLOYMENT, server, delete) == {"spec": {"strategy": {}}}
    merge = {"spec": {"strategy": {"$patch": "merge", "type": "X"}}}
    assert strategic_patch(DEPLOYMENT, server, merge)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1}


def test_a_volume_changes_its_source():
    server = {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    patch = {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}
    assert strategic_patch(POD, server, patch)["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_directives_and_nulls_never_end_up_in_the_object():
    patch = {
        "metadata": {"labels": {"a": None, "b": "c"}},
        **containers({"name": "a", "image": None}, {"name": "b", "$patch": "delete"}),
    }
    patch["spec"]["$setElementOrder/volumes"] = []
    assert strategic_patch(POD, {}, patch) == {
        "metadata": {"labels": {"b": "c"}},
        "spec": {"containers": [{"name": "a"}]},
    }


@pytest.mark.parametrize(
    ("patch", "error"),
    [
        ([], BadRequest),
        ({"spec": {"$patch": "shuffle"}}, Invalid),
        (containers({"name": "a", "$patch": "shuffle"}), Invalid),
        (containers({"image": "x"}), BadRequest),
        (containers({"$patch": "delete"}), BadRequest),
        ({"spec": {"$retainKeys": ["a"], "b": 1}}, BadRequest),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}}, BadRequest),
        (containers("z", **{"$setElementOrder/containers": [{"name": "a"}]}), BadRequest),
    ],
)
def test_what_is_wrong_with_a_strategic_patch(patch, error):
    with pytest.raises(error):
        strategic_patch(POD, {"metadata": {"finalizers": ["a"]}, **containers("a")}, patch)


def test_custom_fields_without_a_schema_merge_as_maps():
    assert strategic_patch(POD, {"x": {"a": 1, "l": [1]}}, {"x": {"b": 2, "l": [2]}}) == {
        "x": {"a": 1, "b": 2, "l": [2]}
    }
