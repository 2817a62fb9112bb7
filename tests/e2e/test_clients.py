"""Client libraries from PyPI as real peers: kubernetes, kr8s, lightkube, and an operator on kopf with its own kind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from real_cluster import IMAGE, RealCluster, until

pytestmark = pytest.mark.root

OPERATOR = """
import kopf

@kopf.on.create("example.com", "v1", "greetings")
@kopf.on.update("example.com", "v1", "greetings")
def greet(spec, patch, **_):
    patch.status["text"] = f"hello {spec['name']}"

@kopf.on.delete("example.com", "v1", "greetings")
def bye(name, logger, **_):
    logger.info(f"bye {name}")
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: greetings.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: greetings, singular: greeting, kind: Greeting}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {name: {type: string}}}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


@pytest.fixture
def api(cluster: RealCluster):
    from kubernetes import client, config

    config.load_kube_config(str(cluster.kubeconfig))
    return client.CoreV1Api()


def test_the_official_client_lists_watches_and_execs(api, namespace):
    from kubernetes import watch
    from kubernetes.stream import stream

    container = {"name": "c", "image": IMAGE, "env": [{"name": "VERSION", "value": "v1"}]}
    api.create_namespaced_pod(namespace, {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    for event in watch.Watch().stream(api.list_namespaced_pod, namespace, timeout_seconds=30):
        if event["object"].status.phase == "Running":
            break
    (pod,) = api.list_namespaced_pod(namespace, field_selector="metadata.name=p").items
    assert pod.status.pod_ip
    said = stream(
        api.connect_get_namespaced_pod_exec, "p", namespace, command=["hostname"],
        stdout=True, stderr=True, stdin=False, tty=False,
    )  # fmt: skip
    assert said.strip() == "p"
    until(lambda: api.read_namespaced_pod_log("p", namespace) == "ready\n", "the pod's log")
    api.patch_namespaced_pod("p", namespace, {"metadata": {"labels": {"a": "b"}}})
    assert api.list_namespaced_pod(namespace, label_selector="a=b").items
    api.delete_namespaced_pod("p", namespace)


def test_lightkube_works_with_typed_objects(cluster, namespace):
    from lightkube import Client, KubeConfig
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap

    client = Client(KubeConfig.from_file(str(cluster.kubeconfig)), namespace=namespace, field_manager="lightkube")
    client.create(ConfigMap(metadata=ObjectMeta(name="c"), data={"a": "1"}))
    client.apply(ConfigMap(metadata=ObjectMeta(name="d"), data={"b": "2"}))
    client.patch(ConfigMap, "c", {"data": {"a": "3"}})
    found = {item.metadata.name: item.data for item in client.list(ConfigMap)}
    assert (found["c"], found["d"]) == ({"a": "3"}, {"b": "2"})
    client.delete(ConfigMap, "c")


def test_kr8s_waits_for_a_deployment(cluster, namespace):
    import kr8s
    from kr8s.objects import Deployment

    api = kr8s.api(kubeconfig=str(cluster.kubeconfig), namespace=namespace)
    container = {"name": "c", "image": IMAGE, "env": [{"name": "VERSION", "value": "v1"}]}
    template = {"metadata": {"labels": {"app": "k"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "k"}}, "template": template}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "k", "namespace": namespace},
        "spec": spec,
    }
    deployment = Deployment(body, api=api)
    deployment.create()
    deployment.wait("condition=Available", timeout=30)
    deployment.scale(2)
    until(lambda: len(list(api.get("pods", label_selector="app=k", namespace=namespace))) == 2, "two pods")
    deployment.delete()


def test_a_kopf_operator_serves_its_own_kind(cluster, namespace, tmp_path):
    cluster.kubectl("apply", "-f", "-", stdin=CRD)
    cluster.kubectl("wait", "--for=condition=Established", "crd/greetings.example.com", "--timeout=10s")
    source = tmp_path / "operator.py"
    source.write_text(OPERATOR)
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    log = (tmp_path / "log").open("w")
    command = [Path(sys.executable).with_name("kopf"), "run", "-n", namespace, "--standalone", str(source)]
    operator = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        meta = f"metadata: {{name: g, namespace: {namespace}}}"
        body = f"apiVersion: example.com/v1\nkind: Greeting\n{meta}\nspec: {{name: you}}\n"
        cluster.kubectl("apply", "-f", "-", stdin=body)
        wanted = "jsonpath={.status.text}"
        until(
            lambda: cluster.kubectl("-n", namespace, "get", "greeting", "g", "-o", wanted) == "hello you", "a greeting"
        )
        cluster.kubectl("apply", "-f", "-", stdin=body.replace("you", "all"))
        until(
            lambda: cluster.kubectl("-n", namespace, "get", "greeting", "g", "-o", wanted) == "hello all", "a new one"
        )
        cluster.kubectl("-n", namespace, "delete", "greeting", "g", "--timeout=20s")
        assert "bye g" in (tmp_path / "log").read_text()
    finally:
        operator.terminate()
        operator.wait(20)
        log.close()
        cluster.kubectl("delete", "crd", "greetings.example.com", "--timeout=30s")
