"""The loop of a GitOps agent: apply by force, diff, apply again. Nothing may change that was not asked to."""

from __future__ import annotations

import json
import secrets
import textwrap

import pytest
import yaml
from real_cluster import IMAGE, RealCluster

pytestmark = pytest.mark.root

MANIFESTS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 1}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: IMAGE
          env: [{name: VERSION, value: v1}, {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
          ports: [{containerPort: 80}, {containerPort: 80, protocol: UDP, name: dns}]
          resources: {requests: {cpu: 0.01, memory: 16Mi}, limits: {memory: "33554432"}}
          readinessProbe: {httpGet: {path: /, port: 80}}
          volumeMounts: [{name: settings, mountPath: /settings}]
      volumes: [{name: settings, configMap: {name: settings}}]
      terminationGracePeriodSeconds: 1
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, name: http}, {port: 80, protocol: UDP, name: dns}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "1", b: "x\\ny\\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {token: abc}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
    - host: web.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 0
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: IMAGE}]}}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  suspend: true
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: IMAGE}]}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: IMAGE}]}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: default}]
---
apiVersion: GROUP/v1
kind: Boat
metadata: {name: argo}
spec: {crew: [{name: tiphys, role: helmsman}, {name: jason}], length: 1.5}
"""
CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                length: {type: number}
                sails: {type: integer, default: 1}
                crew:
                  type: array
                  x-kubernetes-list-type: map
                  x-kubernetes-list-map-keys: [name]
                  items:
                    type: object
                    required: [name]
                    properties: {name: {type: string}, role: {type: string, default: oarsman}}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


@pytest.fixture
def manifests(cluster: RealCluster, namespace: str):
    group = f"gitops-{secrets.token_hex(3)}.example.com"
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=CRD.replace("GROUP", group))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/boats.{group}", "--timeout=10s")
    yield textwrap.dedent(MANIFESTS).replace("IMAGE", IMAGE).replace("GROUP", group)
    cluster.kubectl("delete", "crd", f"boats.{group}", "--timeout=30s")


def versions(cluster: RealCluster, namespace: str, manifests: str) -> dict[str, tuple[str, int]]:
    """What `apply` can change of each object: its generation, and who owns which of its fields."""
    found = json.loads(
        cluster.kubectl("-n", namespace, "get", "-f", "-", "-o", "json", "--show-managed-fields", stdin=manifests)
    )
    return {
        f"{item['kind']}/{item['metadata']['name']}": (
            item["metadata"].get("generation", 0),
            [(e["manager"], e["fieldsV1"]) for e in item["metadata"]["managedFields"] if e["operation"] == "Apply"],
        )
        for item in found["items"]
    }


def test_applying_by_force_again_and_again_changes_nothing(cluster, namespace, manifests):
    force = ("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-")
    cluster.kubectl(*force, stdin=manifests)
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    first = versions(cluster, namespace, manifests)
    for _ in range(3):
        words = ("-n", namespace, "diff", "--server-side", "--force-conflicts", "-f", "-")
        assert cluster.kubectl(*words, stdin=manifests) == ""
        assert cluster.kubectl("-n", namespace, "diff", "-f", "-", stdin=manifests) == ""
        cluster.kubectl(*force, stdin=manifests)
    assert versions(cluster, namespace, manifests) == first


def test_a_client_side_user_may_go_over_to_the_server_side(cluster, namespace, manifests):
    def generations() -> list[int]:
        found = json.loads(cluster.kubectl("-n", namespace, "get", "-f", "-", "-o", "json", stdin=manifests))
        return [item["metadata"].get("generation", 0) for item in found["items"]]

    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifests)
    before = generations()
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifests)
    assert generations() == before
    # Where a default was filled in inside of what has one owner only, kubectl's own claim does not count, as upstream.
    owned_whole = ("Deployment", "NetworkPolicy", "StatefulSet")
    rest = [document for document in yaml.safe_load_all(manifests) if document["kind"] not in owned_whole]
    changed = yaml.safe_dump_all(rest).replace("a: '1'", "a: '2'")
    told = cluster.kubectl("-n", namespace, "apply", "--server-side", "-f", "-", stdin=changed)
    assert "conflict" not in told.lower()
    data = cluster.kubectl("-n", namespace, "get", "configmap", "settings", "-o", "jsonpath={.data.a}")
    assert data == "2"
    # What is taken out of the manifest goes, also after the change of sides.
    documents = [d for d in yaml.safe_load_all(changed) if d["kind"] == "ConfigMap"]
    del documents[0]["data"]["b"]
    cluster.kubectl("-n", namespace, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(documents[0]))
    assert cluster.get("-n", namespace, "configmap", "settings")["data"] == {"a": "2"}


def test_somebody_elses_field_is_a_conflict_until_forced(cluster, namespace):
    manifest = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}'
    cluster.kubectl("-n", namespace, "apply", "--server-side", "-f", "-", stdin=manifest)
    patch = ("patch", "configmap", "c", "--type=merge", "-p", '{"data":{"a":"9"}}', "--field-manager=me")
    cluster.kubectl("-n", namespace, *patch)
    told = cluster.kubectl("-n", namespace, "apply", "--server-side", "-f", "-", stdin=manifest, check=False)
    assert 'conflict with "me"' in told
    assert ".data.a" in told
    cluster.kubectl("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
    assert cluster.get("-n", namespace, "configmap", "c")["data"] == {"a": "1"}
