"""Field management: who owns what after which writes, as a user of server-side apply sees it."""

from __future__ import annotations

import copy

import orjson
import pytest

from tiphys.api import facts, fieldset
from tiphys.api.apply import MAX_UPDATERS, apply, update_managed
from tiphys.api.custom_schema import from_openapi_v3
from tiphys.api.errors import BadRequest, Conflict

DEPLOYMENT = facts.schema("io.k8s.api.apps.v1.Deployment")
CONFIG_MAP = facts.schema("io.k8s.api.core.v1.ConfigMap")
POD = facts.schema("io.k8s.api.core.v1.Pod")
SERVICE = facts.schema("io.k8s.api.core.v1.Service")


def config_map(data=None, **metadata):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "d", **metadata},
        **({} if data is None else {"data": data}),
    }


def deployment(*containers, **spec):
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": list(containers)}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "n", "namespace": "d"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec},
    }


def put(live, new, *, manager="m", schema=CONFIG_MAP, now=1.0, **options):
    """An update, with its managedFields recorded."""
    managed = update_managed(
        live, new, manager=manager, api_version=new["apiVersion"], schema=schema, now=now, **options
    )
    new = copy.deepcopy(new)
    new["metadata"]["managedFields"] = managed
    return new


def serve(live, new, *, manager="m", schema=CONFIG_MAP, now=1.0, **options):
    """An apply."""
    return apply(live, new, manager=manager, api_version=new["apiVersion"], schema=schema, now=now, **options)


def owned(obj, manager):
    """Paths that a manager owns, by all its entries."""
    found = [set(fieldset.paths(e["fieldsV1"])) for e in obj["metadata"]["managedFields"] if e["manager"] == manager]
    return set().union(*found)


def test_a_created_object_belongs_to_its_creator():
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web",
            "namespace": "d",
            "uid": "1",
            "creationTimestamp": "x",
            "labels": {"app": "a"},
            "finalizers": ["f"],
        },
        "spec": {
            "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": {}}],
            "nodeSelector": {"a": "b"},
            "securityContext": {},
        },
        "status": {},
    }
    assert put(None, pod, schema=POD, manager="kubectl", now=60)["metadata"]["managedFields"] == [
        {
            "manager": "kubectl",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "1970-01-01T00:01:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:finalizers": {".": {}, 'v:"f"': {}}, "f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"c"}': {
                            ".": {},
                            "f:image": {},
                            "f:name": {},
                            "f:resources": {},
                            "f:ports": {
                                ".": {},
                                'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
                            },
                        }
                    },
                    "f:nodeSelector": {},
                    "f:securityContext": {},
                },
            },
        }
    ]


def test_an_update_takes_what_it_changes_and_only_that():
    live = put(None, config_map({"a": "1", "b": "2"}), manager="one", now=1)
    live = put(live, {**live, "data": {"a": "1", "b": "3", "c": "4"}}, manager="two", now=2)
    assert owned(live, "one") == {".data", ".data.a"}
    assert owned(live, "two") == {".data.b", ".data.c"}


def test_a_removed_field_is_owned_by_nobody():
    live = put(None, config_map({"a": "1", "b": "2"}), manager="one", now=1)
    live = put(live, {**live, "data": {"a": "1"}}, manager="two", now=2)
    assert owned(live, "one") == {".data", ".data.a"}
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["one"]


def test_the_time_of_an_entry_moves_only_when_its_manager_took_something():
    live = put(None, config_map({"a": "1"}), now=1)
    same = put(live, copy.deepcopy(live), now=2)
    assert same == live
    changed = put(live, {**live, "data": {"a": "2"}}, now=3)
    assert [entry["time"] for entry in changed["metadata"]["managedFields"]] == ["1970-01-01T00:00:03Z"]


def test_subresources_and_operations_are_kept_apart():
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "n"}}
    live = put(None, pod, schema=POD, manager="kubelet")
    live = put(live, {**live, "status": {"phase": "Running"}}, schema=POD, manager="kubelet", subresource="status")
    assert [entry.get("subresource") for entry in live["metadata"]["managedFields"]] == [None, "status"]
    assert list(live["metadata"]["managedFields"][1])[-1] == "subresource"


def test_ownership_can_be_forgotten_with_one_empty_entry():
    live = put(None, config_map({"a": "1"}))
    assert put(live, config_map({"a": "1"}, managedFields=[{}]))["metadata"]["managedFields"] == []
    assert (
        put(live, config_map({"a": "1"}, managedFields=[]))["metadata"]["managedFields"]
        == live["metadata"]["managedFields"]
    )


def test_a_writer_may_edit_managed_fields_but_not_through_a_subresource():
    live = put(None, config_map({"a": "1"}), manager="one")
    edited = copy.deepcopy(live)
    edited["metadata"]["managedFields"][0]["manager"] = "renamed"
    assert put(live, edited)["metadata"]["managedFields"][0]["manager"] == "renamed"
    assert put(live, edited, subresource="status")["metadata"]["managedFields"][0]["manager"] == "one"


def test_the_oldest_updaters_are_merged_beyond_ten():
    live = put(None, config_map({"k0": "v"}), manager="m0", now=0)
    for number in range(1, 15):
        data = {**live["data"], f"k{number}": "v"}
        live = put(live, {**live, "data": data}, manager=f"m{number}", now=number)
    entries = live["metadata"]["managedFields"]
    assert len(entries) == MAX_UPDATERS
    assert [entry["manager"] for entry in entries] == ["ancient-changes", *(f"m{n}" for n in range(6, 15))]
    assert owned(live, "ancient-changes") == {".data", *(f".data.k{n}" for n in range(6))}
    assert entries[0]["time"] == "1970-01-01T00:00:05Z"


def test_applying_creates_and_owns_what_is_listed():
    live = serve(
        None, deployment({"name": "c", "image": "i", "ports": [{"containerPort": 80}]}, replicas=3), schema=DEPLOYMENT
    )
    assert owned(live, "m") == {
        ".spec.replicas",
        ".spec.selector",
        ".spec.template.metadata.labels.app",
        '.spec.template.spec.containers[name="c"]',
        '.spec.template.spec.containers[name="c"].name',
        '.spec.template.spec.containers[name="c"].image',
        '.spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"]',
        '.spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].containerPort',
    }
    assert live["spec"]["replicas"] == 3


def test_applying_the_same_again_changes_nothing():
    config = deployment({"name": "c", "image": "i"}, replicas=3)
    live = serve(None, config, schema=DEPLOYMENT, now=1)
    assert serve(live, config, schema=DEPLOYMENT, now=2) == live


def test_a_conflict_names_the_field_and_its_manager():
    live = put(
        None,
        deployment({"name": "c", "image": "i"}, replicas=3),
        manager="kubectl-client-side-apply",
        schema=DEPLOYMENT,
    )
    with pytest.raises(Conflict) as refused:
        serve(live, deployment({"name": "c", "image": "i"}, replicas=5), manager="other", schema=DEPLOYMENT)
    who = 'conflict with "kubectl-client-side-apply" using apps/v1'
    assert refused.value.message == f"Apply failed with 1 conflict: {who}: .spec.replicas"
    assert refused.value.causes == [{"reason": "FieldManagerConflict", "message": who, "field": ".spec.replicas"}]
    assert refused.value.code == 409


def test_several_conflicts_are_listed_by_manager():
    live = serve(None, deployment({"name": "c", "image": "i"}), manager="two", schema=DEPLOYMENT)
    live = put(
        live, {**live, "spec": {**live["spec"], "replicas": 3}}, manager="one", schema=DEPLOYMENT, subresource="scale"
    )
    with pytest.raises(Conflict) as refused:
        serve(live, deployment({"name": "c", "image": "j"}, replicas=5), manager="three", schema=DEPLOYMENT)
    assert refused.value.message == (
        'Apply failed with 2 conflicts: conflicts with "one" with subresource "scale" using apps/v1:\n'
        "- .spec.replicas\n"
        'conflicts with "two":\n- .spec.template.spec.containers[name="c"].image'
    )


def test_force_takes_what_conflicts():
    live = serve(None, config_map({"a": "1", "b": "1"}), manager="one")
    live = serve(live, config_map({"a": "2"}), manager="two", force=True)
    assert live["data"] == {"a": "2", "b": "1"}
    assert (owned(live, "one"), owned(live, "two")) == ({".data.b"}, {".data.a"})


def test_the_same_value_is_owned_together_and_stays_until_the_last_lets_go():
    live = serve(None, config_map({"a": "1"}), manager="one")
    live = serve(live, config_map({"a": "1"}), manager="two")
    assert owned(live, "one") == owned(live, "two") == {".data.a"}
    live = serve(live, config_map(), manager="one")
    assert live["data"] == {"a": "1"}
    assert owned(live, "one") == set()
    live = serve(live, config_map(), manager="two")
    assert live.get("data") in (None, {})


def test_what_is_no_longer_listed_is_removed_unless_somebody_else_owns_it():
    live = serve(
        None,
        deployment({"name": "a", "image": "i", "args": ["x"]}, {"name": "b", "image": "i"}, replicas=3),
        schema=DEPLOYMENT,
    )
    live = put(live, {**live, "spec": {**live["spec"], "paused": True}}, manager="other", schema=DEPLOYMENT)
    live = serve(live, deployment({"name": "a", "image": "i"}), schema=DEPLOYMENT)
    assert live["spec"]["template"]["spec"]["containers"] == [{"name": "a", "image": "i"}]
    assert "replicas" not in live["spec"]
    assert live["spec"]["paused"] is True


def test_what_the_server_filled_in_stays_when_a_manager_applies_again():
    live = serve(None, deployment({"name": "a", "image": "i"}), schema=DEPLOYMENT)
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    live["spec"]["revisionHistoryLimit"] = 10
    again = serve(live, deployment({"name": "a", "image": "j"}), schema=DEPLOYMENT)
    assert again["spec"]["template"]["spec"]["containers"] == [{"name": "a", "image": "j", "imagePullPolicy": "Always"}]
    assert again["spec"]["revisionHistoryLimit"] == 10


def test_a_removed_struct_takes_its_defaults_with_it():
    probe = {"httpGet": {"port": 80}}
    live = serve(None, deployment({"name": "a", "livenessProbe": probe}), schema=DEPLOYMENT)
    live["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["periodSeconds"] = 10
    live = serve(live, deployment({"name": "a"}), schema=DEPLOYMENT)
    assert live["spec"]["template"]["spec"]["containers"] == [{"name": "a"}]


def test_ports_are_told_apart_by_protocol_and_the_default_counts():
    first = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 53, "protocol": "UDP"}]},
    }
    second = {**first, "spec": {"ports": [{"port": 53}]}}
    live = serve(None, first, manager="one", schema=SERVICE)
    live = serve(live, second, manager="two", schema=SERVICE)
    assert len(live["spec"]["ports"]) == 2
    for port in live["spec"]["ports"]:
        port.setdefault("protocol", "TCP")
    assert serve(live, second, manager="two", schema=SERVICE) == live


def test_an_item_twice_is_refused():
    with pytest.raises(BadRequest) as refused:
        serve(None, deployment({"name": "c"}, {"name": "c"}), schema=DEPLOYMENT)
    assert refused.value.message == (
        "failed to create typed patch object (d/n; apps/v1, Kind=Deployment): "
        '.spec.template.spec.containers: duplicate entries for key [name="c"]'
    )


def test_a_configuration_does_not_say_who_owns_what():
    with pytest.raises(BadRequest, match="managedFields must be nil"):
        serve(None, config_map(managedFields=[{"manager": "x"}]))


def test_an_object_of_unknown_ownership_belongs_to_before_first_apply():
    with pytest.raises(Conflict, match=r'conflict with "before-first-apply" using v1: \.data\.a'):
        serve(config_map({"a": "1"}), config_map({"a": "2"}))
    live = serve(config_map({"a": "1", "b": "2"}), config_map({"a": "1"}))
    assert owned(live, "before-first-apply") == {".data.a", ".data.b"}


def test_atomic_values_have_one_owner():
    live = serve(None, deployment({"name": "c", "args": ["1", "2"]}), manager="one", schema=DEPLOYMENT)
    with pytest.raises(Conflict, match=r"args"):
        serve(live, deployment({"name": "c", "args": ["1", "3"]}), manager="two", schema=DEPLOYMENT)


def test_new_items_come_in_the_applied_order_between_those_of_others():
    def applied(*names):
        return deployment(*({"name": name} for name in names))

    def order(obj):
        return [container["name"] for container in obj["spec"]["template"]["spec"]["containers"]]

    live = serve(None, applied("a", "c"), manager="one", schema=DEPLOYMENT)
    assert order(serve(live, applied("c", "b"), manager="two", schema=DEPLOYMENT)) == ["a", "c", "b"]
    assert order(serve(live, applied("b", "c"), manager="two", schema=DEPLOYMENT)) == ["a", "b", "c"]
    assert order(serve(live, applied("c", "a"), manager="one", schema=DEPLOYMENT)) == ["c", "a"]


def test_status_is_left_out_of_what_the_main_resource_applies():
    config = {**deployment({"name": "c"}), "status": {"replicas": 3}}
    live = serve(None, config, schema=DEPLOYMENT, ignored=("status",))
    assert "status" not in live
    assert ".status.replicas" not in owned(live, "m")


def test_custom_objects_merge_by_their_schema():
    item = {"type": "object", "properties": {"id": {"type": "string"}, "v": {"type": "integer"}}}
    schema = from_openapi_v3(
        {
            "properties": {
                "spec": {
                    "type": "object",
                    "properties": {
                        "keyed": {
                            "type": "array",
                            "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["id"],
                            "items": item,
                        },
                        "plain": {"type": "array", "items": {"type": "integer"}},
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    },
                }
            }
        }
    )

    def custom(**spec):
        return {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": spec}

    live = serve(
        None, custom(keyed=[{"id": "a", "v": 1}], plain=[1], free={"x": {"y": 1}}), manager="one", schema=schema
    )
    live = serve(live, custom(keyed=[{"id": "b", "v": 2}], free={"x": {"z": 2}}), manager="two", schema=schema)
    assert live["spec"]["keyed"] == [{"id": "a", "v": 1}, {"id": "b", "v": 2}]
    assert live["spec"]["free"] == {"x": {"y": 1, "z": 2}}
    assert ".spec.plain" in owned(live, "one")
    assert ".metadata.labels.a" in owned(live, "two")


def test_neither_side_is_changed_or_shared():
    live, config = serve(None, config_map({"a": "1"})), config_map({"a": "2", "b": "3"}, labels={"x": "y"})
    before = orjson.dumps([live, config])
    result = serve(live, config)
    result["metadata"]["labels"]["x"] = "changed"
    result["data"]["a"] = "changed"
    put(live, result)
    assert orjson.dumps([live, config]) == before


def test_sets_of_fields():
    left = {"f:a": {}, "f:b": {".": {}, "f:c": {}}, "f:d": {"f:e": {}}}
    right = {"f:b": {}, "f:d": {".": {}, "f:e": {}, "f:f": {}}, "f:g": {}}
    assert fieldset.union(left, right) == {
        "f:a": {},
        "f:b": {".": {}, "f:c": {}},
        "f:d": {".": {}, "f:e": {}, "f:f": {}},
        "f:g": {},
    }
    assert fieldset.difference(left, right) == {"f:a": {}, "f:b": {"f:c": {}}}
    assert fieldset.intersection(left, right) == {"f:b": {}, "f:d": {"f:e": {}}}
    assert set(fieldset.paths(left)) == {".a", ".b", ".b.c", ".d.e"}
    with pytest.raises(ValueError, match=r"none of"):
        fieldset.parse({"a": {}})


def client_side(data):
    """What `kubectl apply` without --server-side leaves: its annotation, and an update by its own manager."""
    annotation = orjson.dumps(config_map(data)).decode() + "\n"
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": annotation}
    return put(None, config_map(data, annotations=annotations), manager="kubectl-client-side-apply")


def test_kubectl_takes_over_what_it_applied_from_the_client_side():
    live = client_side({"a": "1", "b": "1"})
    made = serve(live, config_map({"a": "2", "b": "1"}), manager="kubectl", now=2.0)
    assert made["data"] == {"a": "2", "b": "1"}
    annotations = made["metadata"]["annotations"]
    recorded = orjson.loads(annotations["kubectl.kubernetes.io/last-applied-configuration"])
    assert recorded == config_map({"a": "2", "b": "1"})
    assert serve(made, config_map({"a": "2", "b": "1"}), manager="kubectl", now=3.0) == made


def test_other_managers_do_not_inherit_from_the_client_side():
    with pytest.raises(Conflict):
        serve(client_side({"a": "1"}), config_map({"a": "2"}), manager="argo", now=2.0)


def test_what_somebody_changed_since_is_not_kubectls_any_more():
    live = client_side({"a": "1"})
    changed = copy.deepcopy(live)
    changed["data"]["a"] = "other"
    live = put(live, changed, manager="editor", now=2.0)
    with pytest.raises(Conflict):
        serve(live, config_map({"a": "2"}), manager="kubectl", now=3.0)
