"""Client-side apply: the patch, put on what lives, gives what the file says and leaves the server's own alone."""

from __future__ import annotations

from tiphys.api import facts
from tiphys.api.patch import merge_patch as put
from tiphys.api.strategic import strategic_patch
from tiphys.cli.patches import merge_patch, strategic
from tiphys.cli.writes import last_applied

DEPLOYMENT = facts.schema("io.k8s.api.apps.v1.Deployment")


def container(name, **fields):
    return {"name": name, "image": f"{name}:1", **fields}


def workload(*containers, **spec):
    return {"spec": {"template": {"spec": {"containers": list(containers)}}, **spec}}


def applied(last, new, live):
    return strategic_patch(DEPLOYMENT, live, strategic(DEPLOYMENT, last, new, live))


def test_nothing_to_do_is_an_empty_patch():
    new = workload(container("a"), replicas=1)
    live = workload(container("a", imagePullPolicy="Always"), replicas=1, paused=False)
    assert strategic(DEPLOYMENT, new, new, live) == {}


def test_fields_that_were_applied_and_are_no_more_go():
    last, new = workload(container("a"), replicas=2, paused=True), workload(container("a"))
    live = workload(container("a"), replicas=2, paused=True, minReadySeconds=3)
    assert applied(last, new, live) == workload(container("a"), minReadySeconds=3)


def test_containers_are_merged_by_name():
    last = workload(container("a"), container("b"))
    new = workload(container("c"), container("a", image="a:2"))
    live = workload(container("a", terminationMessagePath="/x"), container("b"), container("injected"))
    merged = applied(last, new, live)["spec"]["template"]["spec"]["containers"]
    assert {item["name"]: item["image"] for item in merged} == {"a": "a:2", "c": "c:1", "injected": "injected:1"}
    assert next(item for item in merged if item["name"] == "a")["terminationMessagePath"] == "/x"


def test_variables_that_were_removed_go_and_foreign_ones_stay():
    last = workload(container("a", env=[{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]))
    new = workload(container("a", env=[{"name": "X", "value": "3"}]))
    live = workload(container("a", env=[{"name": n, "value": "0"} for n in "XYZ"]))
    merged = applied(last, new, live)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {item["name"]: item["value"] for item in merged} == {"X": "3", "Z": "0"}


def test_the_other_strategy_replaces_the_first():
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
    merged = applied({"spec": {"strategy": rolling}}, {"spec": {"strategy": {"type": "Recreate"}}},
                     {"spec": {"strategy": rolling}})  # fmt: skip
    assert merged == {"spec": {"strategy": {"type": "Recreate"}}}


def test_custom_resources_take_a_plain_merge():
    last, new = {"spec": {"a": 1, "b": [1]}}, {"spec": {"b": [2]}}
    live = {"spec": {"a": 1, "b": [1], "c": 3}, "status": {"x": 1}}
    assert put(live, merge_patch(last, new, live)) == {"spec": {"b": [2], "c": 3}, "status": {"x": 1}}


def test_the_annotation_never_holds_itself():
    obj = {"kind": "Pod", "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "old"}}}
    assert last_applied(obj) == '{"kind":"Pod","metadata":{"annotations":{}}}\n'
