"""Dynamic resources from the outside: a Deployment whose pods get devices, and one that waits for some."""

from __future__ import annotations

import json
import os
from typing import Any

from real_cluster import until

import tiphys.testing
from tiphys.cli.config import Connection, load
from tiphys.cli.transport import Http
from tiphys.main.why import answer

Json = dict[str, Any]
CLASS = """
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu}
spec:
  selectors: [{cel: {expression: "device.driver == 'gpu.example.com'"}}]
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: one-gpu, namespace: default}
spec:
  spec:
    devices:
      requests:
        - name: gpu
          exactly:
            deviceClassName: gpu
            selectors:
              - cel: {expression: "device.capacity['gpu.example.com'].memory.compareTo(quantity('40Gi')) >= 0"}
"""
SLICE = """
---
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: NODE-gpus}
spec:
  driver: gpu.example.com
  nodeName: NODE
  pool: {name: NODE, generation: 1, resourceSliceCount: 1}
  devices:
    - {name: small, capacity: {memory: {value: 16Gi}}}
    - {name: large, capacity: {memory: {value: 80Gi}}}
"""
DEPLOYMENT = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: train, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: train}}
  template:
    metadata: {labels: {app: train}}
    spec:
      resourceClaims: [{name: gpu, resourceClaimTemplateName: one-gpu}]
      containers: [{name: c, image: i, resources: {claims: [{name: gpu}]}}]
"""

def items(cluster: tiphys.testing.Cluster, kind: str) -> list[Json]:
    found: list[Json] = json.loads(cluster.kubectl("get", kind, "-o", "json"))["items"]
    return found


def test_a_deployment_gets_devices_and_who_gets_none_is_told_why() -> None:
    with tiphys.testing.cluster(nodes=3) as cluster:
        nodes = [each["metadata"]["name"] for each in items(cluster, "nodes")]
        slices = "".join(SLICE.replace("NODE", name) for name in nodes[:2])
        cluster.kubectl("apply", "-f", "-", stdin=CLASS + slices + DEPLOYMENT)

        def running() -> list[Json]:
            return [each for each in items(cluster, "pods") if each["status"].get("phase") == "Running"]

        until(lambda: len(running()) == 2, "two pods run")
        assert sorted(each["spec"]["nodeName"] for each in running()) == sorted(nodes[:2])
        given = [each["status"]["allocation"]["devices"]["results"][0]
                 for each in items(cluster, "resourceclaims") if each.get("status")]  # fmt: skip
        assert sorted(each["pool"] for each in given) == sorted(nodes[:2])
        assert {each["device"] for each in given} == {"large"}

        (waiting,) = [each for each in items(cluster, "pods") if not each["spec"].get("nodeName")]
        name = waiting["metadata"]["name"]
        transport = Http(Connection(load(os.fspath(cluster.kubeconfig)), {}))
        told = "\n".join(answer(transport, "default", name))
        assert "0/3 nodes are available: 3 cannot allocate all claims." in told
        assert "has 1 of 1 device of class gpu in use; the end of default/train-" in told

        cluster.kubectl("apply", "-f", "-", stdin=SLICE.replace("NODE", nodes[2]))
        until(lambda: len(running()) == 3, "the third runs on the new devices")

        cluster.kubectl("delete", "deployment", "train")
        until(lambda: not items(cluster, "resourceclaims"), "the claims are gone")


EXTENDED = """
---
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: named}
spec: {extendedResourceName: example.com/gpu}
---
apiVersion: batch/v1
kind: Job
metadata: {name: train, namespace: default}
spec:
  completions: 3
  parallelism: 3
  template:
    metadata: {annotations: {tiphys.io/exit-after: "0.2"}}
    spec:
      restartPolicy: Never
      containers: [{name: c, image: i, resources: {limits: {example.com/gpu: 2}}}]
"""


def test_jobs_take_turns_with_devices_that_stand_for_an_extended_resource() -> None:
    with tiphys.testing.cluster(nodes=1) as cluster:
        (node,) = [each["metadata"]["name"] for each in items(cluster, "nodes")]
        cluster.kubectl("apply", "-f", "-", stdin=SLICE.replace("NODE", node) + EXTENDED)
        cluster.kubectl("wait", "--for=condition=Complete", "job/train", "--timeout=60s")
        statuses = [each["status"]["extendedResourceClaimStatus"] for each in items(cluster, "pods")]
        assert len({each["resourceClaimName"] for each in statuses}) == 3
        until(lambda: not items(cluster, "resourceclaims"), "the claims are gone")
