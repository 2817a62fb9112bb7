"""Volumes on a real cluster: a claim works on a fresh one, data outlives its pods, and goes when the claim does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from real_cluster import IMAGE, RealCluster, until

Json = dict[str, Any]
_SCRIPT = "hostname >> /data/log; trap 'exit 0' TERM; while :; do sleep 1 & wait; done"


def container(**more: Any) -> Json:
    mounts = [{"name": "data", "mountPath": "/data"}]
    return {"name": "c", "image": IMAGE, "command": ["sh", "-c", _SCRIPT], "volumeMounts": mounts, **more}


def claim(name: str = "data", **spec: Any) -> Json:
    size = {"resources": {"requests": {"storage": "64Mi"}}}
    return {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], **size, **spec}}


def stateful_set(replicas: int, **policy: str) -> Json:
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container()]},
            },
            "volumeClaimTemplates": [claim()], "persistentVolumeClaimRetentionPolicy": policy or None,
        },
    }  # fmt: skip


def apply(cluster: RealCluster, namespace: str, *objects: Json) -> None:
    cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


def ready(cluster: RealCluster, namespace: str, replicas: int) -> None:
    def check() -> bool:
        status = cluster.get("-n", namespace, "statefulset", "db")["status"]
        return status.get("readyReplicas", 0) == replicas == status.get("replicas", 0)

    until(check, f"{replicas} ready")


def lines(cluster: RealCluster, namespace: str, pod: str) -> list[str]:
    return cluster.kubectl("-n", namespace, "exec", pod, "--", "cat", "/data/log").split()


def volumes(cluster: RealCluster, namespace: str) -> list[Json]:
    found = cluster.get("persistentvolumes")["items"]
    return [item for item in found if item["spec"].get("claimRef", {}).get("namespace") == namespace]


def test_the_pods_of_a_stateful_set_keep_their_data(cluster: RealCluster, namespace: str) -> None:
    apply(cluster, namespace, stateful_set(2))
    ready(cluster, namespace, 2)
    uid = cluster.get("-n", namespace, "pod", "db-1")["metadata"]["uid"]
    cluster.kubectl("-n", namespace, "delete", "pod", "db-0", "db-1")
    until(lambda: cluster.get("-n", namespace, "pods", "-l", "app=db")["items"], "made anew")
    ready(cluster, namespace, 2)
    assert cluster.get("-n", namespace, "pod", "db-1")["metadata"]["uid"] != uid
    assert lines(cluster, namespace, "db-0") == ["db-0", "db-0"]
    assert lines(cluster, namespace, "db-1") == ["db-1", "db-1"]


def test_a_stateful_set_may_take_its_data_along(cluster: RealCluster, namespace: str) -> None:
    apply(cluster, namespace, stateful_set(2, whenScaled="Delete", whenDeleted="Delete"))
    ready(cluster, namespace, 2)
    specs = {item["spec"]["claimRef"]["name"]: item["spec"] for item in volumes(cluster, namespace)}
    paths = {name: Path(spec["local"]["path"]) for name, spec in specs.items()}
    assert paths["data-db-1"].is_dir()
    cluster.kubectl("-n", namespace, "scale", "statefulset", "db", "--replicas=1")
    until(lambda: not paths["data-db-1"].exists(), "the data of the pod that went is gone")
    assert lines(cluster, namespace, "db-0") == ["db-0"]
    cluster.kubectl("-n", namespace, "delete", "statefulset", "db")
    until(lambda: not paths["data-db-0"].exists() and not volumes(cluster, namespace), "all data is gone")


def test_a_claim_is_mounted_as_the_pod_asks(cluster: RealCluster, namespace: str) -> None:
    source = {"claimName": "data"}
    mounts = [
        {"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": "/part", "subPath": "deep/part"},
        {"name": "same", "mountPath": "/same"},
    ]  # fmt: skip
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "securityContext": {"fsGroup": 2000},
            "terminationGracePeriodSeconds": 1, "containers": [container(volumeMounts=mounts)],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": source},
                {"name": "same", "persistentVolumeClaim": {**source, "readOnly": True}},
            ],
        },
    }  # fmt: skip
    apply(cluster, namespace, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim()}, pod)
    cluster.kubectl("-n", namespace, "wait", "pod/p", "--for=condition=Ready", "--timeout=30s")

    def run(script: str, *, check: bool = True) -> str:
        return cluster.kubectl("-n", namespace, "exec", "p", "--", "sh", "-c", script, check=check)

    assert run("busybox stat -c %g /data/log").strip() == "2000"
    run("echo here > /part/file")
    assert run("cat /data/deep/part/file") == "here\n"
    assert "Read-only file system" in run("echo no > /same/log", check=False)


def test_an_ephemeral_volume_lives_as_long_as_its_pod(cluster: RealCluster, namespace: str) -> None:
    volume = {"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": claim()["spec"]}}}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container()], "volumes": [volume]}
    apply(cluster, namespace, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    cluster.kubectl("-n", namespace, "wait", "pod/p", "--for=condition=Ready", "--timeout=30s")
    assert cluster.get("-n", namespace, "pvc", "p-data")["status"]["phase"] == "Bound"
    cluster.kubectl("-n", namespace, "delete", "pod", "p")
    until(lambda: not volumes(cluster, namespace), "the volume went with the pod")


def test_a_pod_whose_claim_cannot_be_mounted_says_why(cluster: RealCluster, namespace: str) -> None:
    share = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "share"}
    share |= {"nfs": {"server": "192.0.2.1", "path": "/"}, "claimRef": {"namespace": namespace, "name": "data"}}
    name = f"share-{namespace}"
    made = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": share}
    wanted = claim(storageClassName="share", accessModes=["ReadWriteMany"])
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container()]}
    pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    apply(
        cluster, namespace, made, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **wanted},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod},
    )  # fmt: skip
    try:
        until(
            lambda: "mounts only volumes of type hostPath and local"
            in cluster.kubectl("-n", namespace, "events", "--for", "pod/p", "--types", "Warning"),
            "an event that says why",
        )
    finally:
        cluster.kubectl("-n", namespace, "delete", "pod", "p")
        cluster.kubectl("delete", "pv", name, "--wait=false")


def test_a_volume_is_made_on_the_node_that_its_pod_gets(nodes: RealCluster, space: str) -> None:
    apart = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}
    made = stateful_set(2)
    made["spec"]["template"]["spec"]["affinity"] = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}
    }
    apply(nodes, space, made)
    ready(nodes, space, 2)
    homes = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in nodes.get("-n", space, "pods")["items"]}
    assert len(set(homes.values())) == 2
    nodes.kubectl("-n", space, "delete", "pod", "db-0", "db-1")
    until(lambda: len(nodes.get("-n", space, "pods")["items"]) == 2, "both made anew")
    ready(nodes, space, 2)
    pods = nodes.get("-n", space, "pods")["items"]
    assert {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in pods} == homes
    assert lines(nodes, space, "db-1") == ["db-1", "db-1"]


def test_volumes_and_claims_are_made_listed_changed_and_deleted(cluster: RealCluster, namespace: str) -> None:
    name, label = f"static-{namespace}", f"of={namespace}"
    labels = {"labels": {"of": namespace}}
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": namespace}
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name, **labels}, "spec": spec}
    spec["hostPath"] = {"path": f"/tmp/{name}"}
    wanted = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim(storageClassName=namespace)}
    for delete in (["pvc/data"], ["pvc", "--all"]):
        apply(cluster, namespace, volume, wanted)
        cluster.kubectl("-n", namespace, "wait", "pvc/data", "--for=jsonpath={.status.phase}=Bound", "--timeout=30s")
        for kind in ("pv/" + name, "pvc/data"):
            cluster.kubectl("-n", namespace, "label", kind, "changed=yes")
        found = cluster.get("pv", "-l", f"{label},changed=yes")["items"]
        assert [item["spec"]["claimRef"]["name"] for item in found] == ["data"]
        cluster.kubectl("-n", namespace, "delete", *delete)
        cluster.kubectl("wait", f"pv/{name}", "--for=jsonpath={.status.phase}=Released", "--timeout=30s")
        cluster.kubectl("delete", "pv", "-l", label)
    assert cluster.get("pv", "-l", label)["items"] == []
