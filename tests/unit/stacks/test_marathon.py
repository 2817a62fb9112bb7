"""Marathon's app and group definitions as native objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tiphys.stacks.marathon.load import Model, load, waves
from tiphys.stacks.marathon.translate import translate
from tiphys.stacks.objects import Facts
from tiphys.stacks.problems import Refused

FACTS = Facts(("10.0.0.1",), lambda kind, name: b"word" if name == "db-password" else None)


def model(directory: Path, content: Any) -> Model:
    file = directory / "app.json"
    file.write_text(json.dumps(content))
    return load([str(file)])


def app(directory: Path, **fields: Any) -> dict[tuple[str, str], Any]:
    """The objects of one app /web, by kind and name."""
    container = {"docker": {"image": "w"}, **fields.pop("container", {})}
    found, _ = translate(model(directory, {"id": "/web", "container": container, **fields}), "marathon", FACTS)
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}


def pod(found: dict[tuple[str, str], Any], kind: str = "Deployment") -> Any:
    return found[kind, "web"]["spec"]["template"]["spec"]


def test_words_resources_and_environment(tmp_path: Path) -> None:
    env = {"A": "1", "P": {"secret": "pw"}}
    found = app(tmp_path, cmd="run", cpus=0.5, mem=64, env=env, secrets={"pw": {"source": "/db/password"}})
    (one,) = pod(found)["containers"]
    assert one["command"] == ["/bin/sh", "-c", "run"]
    assert one["resources"] == {"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}
    values = {entry["name"]: entry for entry in one["env"]}
    assert values["A"]["value"] == "1"
    assert values["P"]["valueFrom"]["secretKeyRef"]["name"].startswith("db-password-")
    assert values["MARATHON_APP_ID"]["value"] == "/web"


def test_apps_without_an_image_run_in_the_one_that_is_given(tmp_path: Path) -> None:
    file = tmp_path / "apps.json"
    file.write_text(json.dumps([{"id": "bare", "cmd": "run"}, {"id": "own", "container": {"docker": {"image": "w"}}}]))
    with pytest.raises(Refused, match="--image IMAGE"):
        translate(load([str(file)]), "marathon", FACTS)
    found, _ = translate(load([str(file)], "debian:12"), "marathon", FACTS)
    images = {obj["metadata"]["name"]: pod({("Deployment", "web"): obj})["containers"][0]["image"]
              for obj in found if obj["kind"] == "Deployment"}  # fmt: skip
    assert images == {"bare": "debian:12", "own": "w"}


def test_ports_vips_and_service_ports(tmp_path: Path) -> None:
    mapping = {"containerPort": 80, "hostPort": 8080, "servicePort": 10000, "labels": {"VIP_0": "/db:5432"}}
    found = app(tmp_path, container={"portMappings": [mapping]}, networks=[{"mode": "container/bridge"}])
    (one,) = pod(found)["containers"]
    assert one["ports"] == [{"containerPort": 80, "protocol": "TCP", "hostPort": 8080}]
    assert found["Service", "db"]["spec"]["ports"][0]["port"] == 5432
    assert found["Service", "web-published"]["spec"]["externalIPs"] == ["10.0.0.1"]
    assert {entry["name"]: entry.get("value") for entry in one["env"]}["PORT0"] == "8080"


def test_upgrade_strategy(tmp_path: Path) -> None:
    strategy = {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.25}
    made = app(tmp_path, instances=4, upgradeStrategy=strategy)["Deployment", "web"]["spec"]
    assert made["strategy"]["rollingUpdate"] == {"maxUnavailable": 2, "maxSurge": 1}
    strategy = {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}
    made = app(tmp_path, instances=4, upgradeStrategy=strategy)["Deployment", "web"]["spec"]
    assert made["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize(
    ("constraint", "kind", "expected"),
    [
        (["hostname", "UNIQUE"], "podAntiAffinity", "kubernetes.io/hostname"),
        (["rack", "CLUSTER"], "podAffinity", "rack"),
        (["rack", "CLUSTER", "a"], "nodeAffinity", {"key": "rack", "operator": "In", "values": ["a"]}),
        (["rack", "IS", "a"], "nodeAffinity", {"key": "rack", "operator": "In", "values": ["a"]}),
        (["rack", "LIKE", "a|b"], "nodeAffinity", {"key": "rack", "operator": "In", "values": ["a", "b"]}),
        (["rack", "UNLIKE", "a"], "nodeAffinity", {"key": "rack", "operator": "NotIn", "values": ["a"]}),
        (["hostname", "MAX_PER", "1"], "podAntiAffinity", "kubernetes.io/hostname"),
    ],
)
def test_constraints(tmp_path: Path, constraint: list[str], kind: str, expected: Any) -> None:
    found = pod(app(tmp_path, constraints=[constraint]))["affinity"][kind][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    if kind == "nodeAffinity":
        assert found["nodeSelectorTerms"] == [{"matchExpressions": [expected]}]
    else:
        assert found[0]["topologyKey"] == expected


def test_group_by_is_a_spread(tmp_path: Path) -> None:
    (one,) = pod(app(tmp_path, constraints=[["@zone", "GROUP_BY", "3"]]))["topologySpreadConstraints"]
    assert (one["topologyKey"], one["minDomains"]) == ("topology.kubernetes.io/zone", 3)


def test_health_checks(tmp_path: Path) -> None:
    check = {
        "protocol": "MESOS_HTTP",
        "path": "/h",
        "gracePeriodSeconds": 60,
        "intervalSeconds": 5,
        "maxConsecutiveFailures": 2,
    }
    one = pod(app(tmp_path, container={"portMappings": [{"containerPort": 81}]}, networks=[{"mode": "container"}],
                  healthChecks=[check]))["containers"][0]  # fmt: skip
    assert one["livenessProbe"]["httpGet"] == {"path": "/h", "port": 81, "scheme": "HTTP"}
    assert one["startupProbe"]["periodSeconds"] * one["startupProbe"]["failureThreshold"] >= 60
    command = {"protocol": "COMMAND", "command": {"value": "true"}, "maxConsecutiveFailures": 0}
    one = pod(app(tmp_path, healthChecks=[command]))["containers"][0]
    assert "livenessProbe" not in one
    assert one["readinessProbe"]["exec"]["command"] == ["/bin/sh", "-c", "true"]


def test_an_app_with_persistent_volumes_is_a_stateful_set(tmp_path: Path) -> None:
    volumes = [
        {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}},
        {"containerPath": "/d", "hostPath": "data"},
    ]
    found = app(tmp_path, container={"volumes": volumes})
    assert (
        found["StatefulSet", "web"]["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
        == "10Mi"
    )
    assert pod(found, "StatefulSet")["containers"][0]["volumeMounts"] == [{"name": "v0", "mountPath": "/d"}]


def test_apps_of_a_group_start_after_what_they_need(tmp_path: Path) -> None:
    image = {"docker": {"image": "w"}}
    group = {"id": "/shop", "groups": [
        {"id": "front", "dependencies": ["/shop/back"], "apps": [{"id": "web", "container": image}]},
        {"id": "back", "apps": [
            {"id": "api", "container": image, "dependencies": ["db"]}, {"id": "db", "container": image},
        ]},
    ]}  # fmt: skip
    found = model(tmp_path, group)
    assert [app.id for app in found.apps] == ["/shop/front/web", "/shop/back/api", "/shop/back/db"]
    assert waves(found.apps, found.problems) == [{"shop-back-db"}, {"shop-back-api"}, {"shop-front-web"}]
    group["groups"][1]["dependencies"] = ["/shop/front"]  # type: ignore[index]
    with pytest.raises(Refused, match="circle"):
        translate(model(tmp_path, group), "marathon", FACTS)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"instances": -1}, "instances"),
        ({"cmd": "a", "args": ["b"]}, "args"),
        ({"fetch": [{"uri": "http://x/y.tgz"}]}, "fetch"),
        ({"acceptedResourceRoles": ["slave_public"]}, "acceptedResourceRoles"),
        ({"user": "bob"}, "user"),
        ({"constraints": [["hostname", "LIKE", "a[0-9]+"]]}, "constraints[0]"),
        ({"constraints": [["hostname", "NEAR", "a"]]}, "constraints[0]"),
        ({"healthChecks": [{"protocol": "HTTP"}]}, "healthChecks[0].portIndex"),
        ({"healthChecks": [{"protocol": "COMMAND"}]}, "healthChecks[0].command"),
        ({"container": {"volumes": [{"containerPath": "x"}]}}, "container.volumes[0]"),
        ({"container": {"docker": {"image": "w", "parameters": [{"key": "ipc", "value": "host"}]}}},
         "container.docker.parameters[0]"),
        ({"container": {"docker": {}}}, "container.docker.image"),
        ({"env": {"A": {"secret": "x"}}}, "env.A"),
        ({"env": {"A": {"secret": "x"}}, "secrets": {"x": {"source": "no/such"}}}, "env.A"),
        ({"ports": [10250], "requirePorts": True}, "ports"),
        ({"containers": []}, "containers"),
        ({"constraints": [5]}, "id"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_names_file_and_path(tmp_path: Path, fields: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as caught:
        app(tmp_path, **fields)
    assert any(line.startswith(f"{tmp_path}/app.json: {path}: ") for line in caught.value.errors), caught.value.errors
