"""Compose and Swarm stack files as native objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from composed import FACTS, model, objects, pod, service

from tiphys.stacks.compose.interpolate import expand
from tiphys.stacks.compose.load import load
from tiphys.stacks.compose.translate import translate
from tiphys.stacks.objects import Facts
from tiphys.stacks.problems import Refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A-${A}", "1-1"), ("${B:-x}", "x"), ("${E-x}", ""), ("${E:-x}", "x"), ("${A:+y}", "y"), ("${B+y}", ""),
        ("$$A", "$A"), ("${B:-${A}}", "1"), ("${A:?no}", "1"),
    ],
)  # fmt: skip
def test_variables(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "E": ""}) == expected


def test_a_required_variable_is_asked_for() -> None:
    with pytest.raises(ValueError, match="PASSWORD is missing a value: set it"):
        expand("${PASSWORD:?set it}", {})


def test_modes_become_workloads(tmp_path: Path) -> None:
    assert service(tmp_path, "deploy: {replicas: 3}")["Deployment", "web"]["spec"]["replicas"] == 3
    assert ("DaemonSet", "web") in service(tmp_path, "deploy: {mode: global}")
    found = service(tmp_path, "deploy: {mode: replicated-job, replicas: 2, restart_policy: {max_attempts: 1}}")
    (job,) = (obj for (kind, _), obj in found.items() if kind == "Job")
    assert (job["spec"]["completions"], job["spec"]["backoffLimit"]) == (2, 1)
    found = service(tmp_path, "deploy: {mode: global-job}")
    (job,) = (obj for (kind, _), obj in found.items() if kind == "Job")
    assert job["spec"]["completions"] == len(FACTS.addresses)


def test_published_ports_are_open_on_every_node(tmp_path: Path) -> None:
    found = service(tmp_path, "ports: ['8080:80', '31000:81/udp', '90']")
    low = found["Service", "web-published"]["spec"]
    assert low["externalIPs"] == list(FACTS.addresses)
    assert (low["ports"][0]["port"], low["ports"][0]["targetPort"]) == (8080, 80)
    high = found["Service", "web-node"]["spec"]
    assert [(port["targetPort"], port.get("nodePort"), port["protocol"]) for port in high["ports"]] == [
        (81, 31000, "UDP"), (90, None, "TCP"),
    ]  # fmt: skip
    assert {port["port"] for port in found["Service", "web"]["spec"]["ports"]} == {80, 81, 90}


def test_a_port_in_host_mode_is_the_nodes(tmp_path: Path) -> None:
    found = service(tmp_path, "ports: [{target: 80, published: 8080, mode: host}]")
    assert pod(found)["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP", "hostPort": 8080}]
    assert ("Service", "web-published") not in found


def test_a_service_without_ports_is_found_by_name(tmp_path: Path) -> None:
    assert service(tmp_path, "")["Service", "web"]["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in service(tmp_path, "expose: ['80']")["Service", "web"]["spec"]


def test_update_config(tmp_path: Path) -> None:
    made = service(
        tmp_path,
        "deploy: {update_config: {parallelism: 2, delay: 10s, monitor: 1m, order: start-first, "
        "failure_action: rollback, max_failure_ratio: 0.3}}",
    )["Deployment", "web"]
    assert made["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 0}
    assert made["spec"]["minReadySeconds"] == 60
    assert made["metadata"]["annotations"]["tiphys.io/update-failure-action"] == "rollback"
    assert made["metadata"]["annotations"]["tiphys.io/update-max-failure-ratio"] == "0.3"
    plain = service(tmp_path, "")["Deployment", "web"]["spec"]["strategy"]["rollingUpdate"]
    assert plain == {"maxSurge": 0, "maxUnavailable": 1}
    together = service(tmp_path, "deploy: {update_config: {parallelism: 0}}")["Deployment", "web"]["spec"]["strategy"]
    assert together["rollingUpdate"]["maxUnavailable"] == "100%"


@pytest.mark.parametrize(
    ("constraint", "requirement"),
    [
        ("node.role==manager", {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}),
        ("node.role != manager", {"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"}),
        ("node.hostname == a", {"key": "kubernetes.io/hostname", "operator": "In", "values": ["a"]}),
        ("node.labels.disk!=ssd", {"key": "disk", "operator": "NotIn", "values": ["ssd"]}),
        ("node.platform.arch==x86_64", {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}),
        ("engine.labels.zone==b", {"key": "zone", "operator": "In", "values": ["b"]}),
    ],
)
def test_constraints(tmp_path: Path, constraint: str, requirement: Any) -> None:
    spec = pod(service(tmp_path, f"deploy: {{placement: {{constraints: ['{constraint}']}}}}"))
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [requirement]


def test_preferences_and_the_most_replicas_of_a_node(tmp_path: Path) -> None:
    spec = pod(
        service(tmp_path, "deploy: {placement: {preferences: [{spread: node.labels.zone}], max_replicas_per_node: 1}}")
    )
    assert spec["topologySpreadConstraints"][0]["topologyKey"] == "zone"
    assert spec["affinity"]["podAntiAffinity"]


def test_resources_that_are_not_reserved_are_not_requested(tmp_path: Path) -> None:
    limits = "limits: {cpus: '0.5', memory: 64M}"
    one = pod(service(tmp_path, f"deploy: {{resources: {{{limits}}}}}"))["containers"][0]["resources"]
    assert one == {"limits": {"cpu": "500m", "memory": str(64 << 20)}, "requests": {"cpu": "0", "memory": "0"}}
    generic = "reservations: {generic_resources: [{discrete_resource_spec: {kind: x.io/ssd, value: 2}}]}"
    one = pod(service(tmp_path, f"deploy: {{resources: {{{generic}}}}}"))["containers"][0]["resources"]
    assert one == {"limits": {"x.io/ssd": "2"}, "requests": {"x.io/ssd": "2"}}


def test_a_healthcheck_is_three_probes(tmp_path: Path) -> None:
    check = "healthcheck: {test: [CMD-SHELL, 'curl x'], interval: 10s, timeout: 3s, retries: 2, start_period: 1m}"
    one = pod(service(tmp_path, check))["containers"][0]
    assert one["livenessProbe"]["exec"]["command"] == ["/bin/sh", "-c", "curl x"]
    assert (one["readinessProbe"]["periodSeconds"], one["livenessProbe"]["failureThreshold"]) == (10, 2)
    startup = one["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60 + 2 * 10
    assert "livenessProbe" not in pod(service(tmp_path, "healthcheck: {disable: true}"))["containers"][0]


def test_words_environment_and_rights(tmp_path: Path) -> None:
    found = service(
        tmp_path,
        "entrypoint: /run --it 'a b', command: [x, $$(y)], user: '10:20', cap_add: [CAP_NET_ADMIN], read_only: true, "
        "working_dir: /w, stop_signal: INT, environment: ['A=1', 'N={{.Node.Hostname}}'], hostname: h, init: true, "
        "extra_hosts: ['a:1.2.3.4'], sysctls: {net.core.somaxconn: 5}, dns: 9.9.9.9, stop_grace_period: 1m",
    )
    spec = pod(found)
    one = spec["containers"][0]
    assert one["command"] == ["/run", "--it", "a b"]
    assert one["args"] == ["x", "$$(y)"]
    assert one["securityContext"] == {
        "capabilities": {"add": ["NET_ADMIN"]}, "runAsUser": 10, "runAsGroup": 20, "readOnlyRootFilesystem": True,
    }  # fmt: skip
    values = {entry["name"]: entry.get("value") for entry in one["env"]}
    assert (values["A"], values["N"]) == ("1", "$(SWARM_NODE_HOSTNAME)")
    assert one["lifecycle"] == {"stopSignal": "SIGINT"}
    assert spec["hostAliases"] == [{"ip": "1.2.3.4", "hostnames": ["a"]}]
    assert spec["securityContext"]["sysctls"] == [{"name": "net.core.somaxconn", "value": "5"}]
    assert (spec["terminationGracePeriodSeconds"], spec["hostname"], spec["shareProcessNamespace"]) == (60, "h", True)


def test_volumes(tmp_path: Path) -> None:
    found = service(tmp_path, "volumes: ['data:/data:ro', '/etc/x:/x', /scratch, 'n:/n'], tmpfs: '/t:size=1m'")
    spec = pod(found)
    kinds = {key for volume in spec["volumes"] for key in volume if key != "name"}
    assert kinds == {"persistentVolumeClaim", "hostPath", "emptyDir", "nfs"}
    places = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert set(places) == {"/data", "/x", "/scratch", "/n", "/t"}
    assert places["/data"]["readOnly"]
    assert ("PersistentVolumeClaim", "data") in found
    each = pod(service(tmp_path, "volumes: ['data:/d'], deploy: {mode: global}"), "DaemonSet")
    assert each["volumes"][0]["hostPath"]["path"].endswith("/shop/data")


def test_configs_and_secrets_are_named_by_their_content(tmp_path: Path) -> None:
    text = """
services: {web: {image: w, configs: [c], secrets: [{source: s, target: p, mode: 0400}]}}
configs: {c: {content: "hello ${W}"}}
secrets: {s: {external: true}}
"""
    facts = Facts(external=lambda kind, name: b"word" if (kind, name) == ("Secret", "s") else None)
    one, other = (objects(tmp_path, text, facts, W=word) for word in ("a", "b"))
    assert [key for key in one if key[0] == "ConfigMap"] != [key for key in other if key[0] == "ConfigMap"]
    assert [key for key in one if key[0] == "Secret"] == [key for key in other if key[0] == "Secret"]
    mounts = {mount["mountPath"]: mount for mount in pod(one)["containers"][0]["volumeMounts"]}
    assert set(mounts) == {"/c", "/run/secrets/p"}
    (secret,) = (volume["secret"] for volume in pod(one)["volumes"] if "secret" in volume)
    assert secret["items"][0]["mode"] == 0o400


def test_networks_are_kept_apart_and_aliases_are_names(tmp_path: Path) -> None:
    found = objects(tmp_path, """
services:
  web: {image: w, networks: {front: {aliases: [site]}}, expose: [80]}
  db: {image: w, networks: [back], expose: [5432]}
networks: {front: , back: {internal: true}}
""")  # fmt: skip
    assert found["Service", "site"]["spec"] == found["Service", "web"]["spec"]
    assert found["NetworkPolicy", "network-back"]["spec"]["policyTypes"] == ["Ingress"]
    assert ("NetworkPolicy", "internal-front") not in found
    internal = found["NetworkPolicy", "internal-back"]["spec"]
    assert internal["policyTypes"] == ["Egress"]
    (other,) = internal["podSelector"]["matchExpressions"]
    assert (other["key"], other["operator"]) == ("network.tiphys.io/front", "DoesNotExist")
    labels = found["Deployment", "web"]["spec"]["template"]["metadata"]["labels"]
    assert labels["network.tiphys.io/front"] == "true"


def test_files_are_merged_extended_and_filtered(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("""
x-env: &env {A: "1"}
services:
  base: {image: w, environment: *env}
  web: {extends: base, command: [a], ports: ["80:80"]}
  tool: {image: t, profiles: [tools]}
""")
    (tmp_path / "b.yaml").write_text("services: {web: {environment: [B=2], command: [b], ports: ['81:81']}}")
    (tmp_path / ".env").write_text("X=1\n")
    files = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    services = load(files, {}).content["services"]
    assert set(services) == {"base", "web"}
    assert services["web"]["environment"] == {"A": "1", "B": "2"}
    assert (services["web"]["command"], services["web"]["ports"]) == (["b"], ["80:80", "81:81"])
    assert "tool" in load(files, {}, profiles=["tools"]).content["services"]


@pytest.mark.parametrize(
    ("fields", "path", "advice"),
    [
        ("devices: ['/dev/x']", "services.web.devices", "generic_resources"),
        ("nonsense: 1", "services.web.nonsense", "no such field"),
        ("user: bob", "services.web.user", "numbers"),
        ("network_mode: none", "services.web.network_mode", "networks, or host"),
        ("ports: ['x:1']", "services.web.ports[0]", "numbers"),
        ("ports: ['10250:1']", "services.web.ports[0]", "another published port"),
        ("volumes: ['nothere:/x']", "services.web.volumes[0]", "under volumes"),
        ("configs: [nothere]", "services.web.configs[0]", "one of those"),
        ("deploy: {mode: some}", "services.web.deploy.mode", "replicated"),
        ("deploy: {x: 1}", "services.web.deploy.x", "no such field"),
        ("deploy: {replicas: -1}", "services.web.deploy.replicas", "whole number"),
        ("deploy: {placement: {constraints: [node.ip==1]}}", "services.web.deploy.placement.constraints[0]", "label"),
        ("deploy: {resources: {limits: {memory: lots}}}", "services.web.deploy.resources.limits.memory", "64M"),
        ("healthcheck: {test: [FOO, x]}", "services.web.healthcheck.test", "CMD-SHELL"),
        ("environment: {A: '{{.Task.Slot}}'}", "services.web.environment.A", "Node.Hostname"),
        ("extra_hosts: ['a:host-gateway']", "services.web.extra_hosts.a", "network_mode"),
        ("deploy: {update_config: {parallelism: many}}", "services.web", "wrong kind"),
        ("ports: 80", "services.web", "wrong kind"),
        ("stop_grace_period: soon", "services.web.stop_grace_period", "10s"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_names_file_path_and_advice(
    tmp_path: Path, fields: str, path: str, advice: str
) -> None:
    with pytest.raises(Refused) as caught:
        service(tmp_path, fields)
    (line,) = caught.value.errors
    assert line.startswith(f"{tmp_path}/compose.yaml: {path}: ")
    assert advice in line


def test_a_port_is_published_once(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"services.b.ports\[0\]: port 80 is published by a too"):
        objects(tmp_path, "services: {a: {image: w, ports: ['80:1']}, b: {image: w, ports: ['80:2']}}")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        service(tmp_path, "user: bob, devices: [x], stop_grace_period: z")
    assert len(caught.value.errors) == 3


def test_what_is_honoured_differently_is_a_warning(tmp_path: Path) -> None:
    made = model(
        tmp_path,
        "services: {web: {image: w, expose: [1], depends_on: {db: {condition: service_healthy}}, ulimits: {a: 1}}}",
    )
    translate(made, "shop", FACTS)
    assert [line.split(": ")[1] for line in made.problems.warnings] == [
        "services.web.depends_on",
        "services.web.ulimits",
    ]
