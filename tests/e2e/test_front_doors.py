"""Swarm stack files and Marathon groups on a real cluster: deploy, update, roll back, go."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_cluster import IMAGE, TIPHYS, RealCluster, started, until

pytestmark = pytest.mark.root
STACK = """
version: "3.8"
services:
  web:
    image: {image}
    environment: {{VERSION: "${{RELEASE:-one}}"}}
    ports: ["8097:80"]
    configs: [{{source: conf, target: /etc/app.conf}}]
    secrets: [password]
    healthcheck: {{test: ["CMD", "test", "-f", "/www/index.html"], interval: 2s}}
    deploy:
      replicas: 2
      update_config: {{parallelism: 1, order: start-first, failure_action: rollback}}
  api:
    image: {image}
    expose: ["80"]
    networks: {{default: {{aliases: [backend]}}}}
    volumes: ["data:/data"]
  agent:
    image: {image}
    ports: [{{target: 80, published: 8098, mode: host}}]
    deploy: {{mode: global}}
  job:
    image: {image}
    command: ["/bin/sh", "-c", "wget -qO- http://backend && wget -qO- http://web && wget -qO- http://agent"]
    deploy: {{mode: replicated-job, restart_policy: {{max_attempts: 8}}}}
volumes: {{data: }}
configs: {{conf: {{content: "hello ${{RELEASE:-one}}"}}}}
secrets: {{password: {{file: ./password.txt}}}}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with started("doors", image=tmp_path_factory.mktemp("image")) as made:
        yield made


def tiphys(cluster: RealCluster, *words: str, code: int = 0, **environment: str) -> str:
    """What it said on both streams."""
    variables = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), **environment}
    done = subprocess.run([TIPHYS, *words], capture_output=True, text=True, timeout=150, env=variables, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def fetched(cluster: RealCluster, port: int) -> str:
    """The page at a port of the node's own address, "" without an answer."""
    (node,) = cluster.get("nodes")["items"]
    address = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
    try:
        with urllib.request.urlopen(f"http://{address}:{port}", timeout=5) as answer:
            text: str = answer.read().decode()
    except OSError:
        return ""
    return text


def uids(cluster: RealCluster, namespace: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in cluster.get("pods", "-n", namespace)["items"]}


def test_a_stack_is_deployed_updated_rolled_back_and_removed(cluster: RealCluster, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(STACK.format(image=IMAGE))
    (tmp_path / "password.txt").write_text("secret")
    deploy = ("stack", "deploy", "-c", str(file), "--timeout", "100", "shop")
    tiphys(cluster, *deploy)
    rows = {line.split()[1]: line.split() for line in tiphys(cluster, "stack", "services", "shop").splitlines()[1:]}
    assert {name: row[3] for name, row in rows.items() if name != "shop_job"} == {
        "shop_agent": "1/1", "shop_api": "1/1", "shop_web": "2/2",
    }  # fmt: skip
    assert rows["shop_web"][-1] == "*:8097->80/tcp"
    assert "shop" in tiphys(cluster, "stack", "ls")
    assert tiphys(cluster, "stack", "ps", "shop").count("Running") >= 4
    assert "one web" in until(lambda: fetched(cluster, 8097), "the published port answers")
    assert "agent" in until(lambda: fetched(cluster, 8098), "the port in host mode answers")
    read = ("exec", "-n", "shop", "deploy/web", "--", "cat", "/etc/app.conf", "/run/secrets/password")
    assert cluster.kubectl(*read) == "hello onesecret"

    before = uids(cluster, "shop")
    tiphys(cluster, *deploy)
    assert uids(cluster, "shop") == before

    tiphys(cluster, *deploy, RELEASE="two")
    assert cluster.kubectl(*read) == "hello twosecret"
    tiphys(cluster, "stack", "rollback", "shop", "--timeout", "100")
    assert cluster.kubectl(*read) == "hello onesecret"

    file.write_text(
        STACK.format(image=IMAGE).replace('    ports: ["8097', '    command: [sh, -c, exit 3]\n    ports: ["8097')
    )
    said = tiphys(cluster, *deploy, code=1)
    assert "rolling back: web" in said
    assert cluster.kubectl(*read) == "hello onesecret"

    tiphys(cluster, "stack", "rm", "--volumes", "shop")
    until(lambda: "NotFound" in cluster.kubectl("get", "namespace", "shop", check=False), "the namespace is gone", 60)


NETWORKS = """
services:
  web: {{image: {image}, ports: ["8096:80"], networks: [front]}}
  api: {{image: {image}, expose: ["80"], networks: [front, back]}}
  db: {{image: {image}, expose: ["80"], networks: [back]}}
networks: {{front: , back: {{internal: true}}}}
"""


def test_networks_keep_services_apart(cluster: RealCluster, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(NETWORKS.format(image=IMAGE))
    tiphys(cluster, "stack", "deploy", "-c", str(file), "--timeout", "100", "apart")

    def reaches(source: str, target: str) -> bool:
        ask = f"busybox timeout 2 wget -q -O /dev/null http://{target} && echo open || echo closed"
        return "open" in cluster.kubectl("exec", "-n", "apart", f"deploy/{source}", "--", "sh", "-c", ask, check=False)

    for source, target in (("web", "api"), ("api", "db"), ("db", "api"), ("api", "web")):
        until(lambda source=source, target=target: reaches(source, target), f"{source} reaches {target}")
    assert not reaches("web", "db")
    # What is published is for everybody, but who is on internal networks only gets no further than those.
    assert not reaches("db", "web")
    assert until(lambda: fetched(cluster, 8096), "the published port answers")
    tiphys(cluster, "stack", "rm", "apart")


def test_a_file_can_be_looked_at_without_a_cluster(cluster: RealCluster, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: w, ports: ['8080:80'], secrets: [key]}}\nsecrets: {key: {external: true}}")
    said = tiphys(cluster, "stack", "config", "-c", str(file), KUBECONFIG="/nonexistent")
    assert "warning: no cluster answers" in said
    assert "kind: Deployment" in said


def test_nothing_is_created_of_a_file_that_cannot_be_honoured(cluster: RealCluster, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: w, devices: ['/dev/x'], user: bob}}")
    said = tiphys(cluster, "stack", "deploy", "-c", str(file), "bad", code=1)
    assert "services.web.devices: " in said
    assert "services.web.user: " in said
    assert "NotFound" in cluster.kubectl("get", "namespace", "bad", check=False)


def group(version: str) -> dict[str, Any]:
    small = {"cpus": 0.05, "mem": 32, "env": {"VERSION": version}, "networks": [{"mode": "container/bridge"}]}

    def container(**more: Any) -> dict[str, Any]:
        return {"docker": {"image": IMAGE}, **more}

    check = {"protocol": "MESOS_HTTP", "gracePeriodSeconds": 30, "intervalSeconds": 2, "timeoutSeconds": 5}
    vip = [{"containerPort": 80, "labels": {"VIP_0": "/database:5432"}}]
    command = "wget -qO- http://database:5432 && wget -qO- http://shop-web && exec sleep 1000"
    volume = {"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}
    return {"id": "/shop", "apps": [
        {"id": "db", **small, "container": container(portMappings=vip), "healthChecks": [check]},
        {"id": "web", **small, "instances": 2, "dependencies": ["db"],
         "container": container(portMappings=[{"containerPort": 80, "servicePort": 10080}]),
         "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0}},
        {"id": "worker", **small, "cmd": command, "dependencies": ["web"], "container": container(volumes=[volume])},
    ]}  # fmt: skip


def test_a_marathon_group_is_applied_updated_rolled_back_and_removed(cluster: RealCluster, tmp_path: Path) -> None:
    file = tmp_path / "group.json"

    def apply(version: str) -> None:
        file.write_text(json.dumps(group(version)))
        tiphys(cluster, "marathon", "apply", str(file), "--timeout", "100")

    def answers(version: str) -> None:
        page = until(lambda: fetched(cluster, 10080), "the service port answers")
        assert page.startswith(f"{version} shop-web"), page

    apply("one")
    rows = {line.split()[0]: line.split() for line in tiphys(cluster, "marathon", "ls").splitlines()[1:]}
    assert {name: row[3] for name, row in rows.items()} == {
        "/shop/db": "1/1",
        "/shop/web": "2/2",
        "/shop/worker": "1/1",
    }
    answers("one")
    apply("two")
    answers("two")
    tiphys(cluster, "marathon", "rollback", "/shop", "--timeout", "100")
    answers("one")
    tiphys(cluster, "marathon", "rm", "/shop")
    until(lambda: not cluster.get("pods", "-n", "marathon")["items"], "the tasks are gone", 60)
