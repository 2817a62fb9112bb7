"""The cells that tables show, as kubectl users know them."""

from typing import Any

import pytest

from tiphys.api.resource import ResourceType
from tiphys.kinds.apps.deployment import DEPLOYMENTS
from tiphys.kinds.autoscaling.horizontalpodautoscaler import HORIZONTAL_POD_AUTOSCALERS
from tiphys.kinds.batch.cronjob import CRON_JOBS
from tiphys.kinds.batch.job import JOBS
from tiphys.kinds.core.endpoints import ENDPOINTS
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.service import SERVICES
from tiphys.kinds.events.event import EVENTS_V1, from_hub
from tiphys.kinds.storage.storageclass import STORAGE_CLASSES

NOW = 1_700_000_000.0
AGO_5M = "2023-11-14T22:08:20Z"
RUNNING = {"running": {}}


def cells(kind: ResourceType[Any], obj: dict[str, Any]) -> dict[str, Any]:
    return {column.name: column.value(obj, NOW) for column in kind.columns}


def pod(status: dict[str, Any], *, inits: int = 0, deleted: bool = False, sidecar: bool = False) -> dict[str, Any]:
    init = [{"name": f"i{n}", **({"restartPolicy": "Always"} if sidecar else {})} for n in range(inits)]
    meta = {"name": "web", "creationTimestamp": AGO_5M} | ({"deletionTimestamp": AGO_5M} if deleted else {})
    return {"metadata": meta, "spec": {"containers": [{"name": "c"}], "initContainers": init}, "status": status}


def container(state: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "c", "state": state, **fields}


@pytest.mark.parametrize(
    ("obj", "ready", "status"),
    [
        (pod({"phase": "Pending"}), "0/1", "Pending"),
        (
            pod({"phase": "Running", "containerStatuses": [container(RUNNING, ready=True)]}),
            "1/1",
            "Running",
        ),
        (
            pod({"phase": "Running", "containerStatuses": [container({"waiting": {"reason": "CrashLoopBackOff"}})]}),
            "0/1",
            "CrashLoopBackOff",
        ),
        (
            pod({
                "phase": "Succeeded",
                "containerStatuses": [container({"terminated": {"exitCode": 0, "reason": "Completed"}})],
            }),
            "0/1",
            "Completed",
        ),
        (
            pod({"phase": "Failed", "containerStatuses": [container({"terminated": {"exitCode": 3}})]}),
            "0/1",
            "ExitCode:3",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [{"name": "i0", "state": RUNNING}]}, inits=2),
            "0/1",
            "Init:0/2",
        ),
        (
            pod({
                "phase": "Pending",
                "initContainerStatuses": [
                    {"name": "i0", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "i1", "state": {"waiting": {"reason": "ImagePullBackOff"}}},
                ],
            }, inits=2),
            "0/1",
            "Init:ImagePullBackOff",
        ),
        (
            pod({
                "phase": "Running",
                "initContainerStatuses": [{"name": "i0", "state": RUNNING, "started": True, "ready": True}],
                "containerStatuses": [container(RUNNING, ready=True)],
            }, inits=1, sidecar=True),
            "2/2",
            "Running",
        ),
        (pod({"phase": "Running", "containerStatuses": [container(RUNNING, ready=True)]}, deleted=True), "1/1",
         "Terminating"),
        (pod({"phase": "Failed", "reason": "Evicted"}), "0/1", "Evicted"),
        (
            pod({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
            "0/1",
            "SchedulingGated",
        ),
    ],
)  # fmt: skip
def test_pods_status(obj: dict[str, Any], ready: str, status: str) -> None:
    row = cells(PODS, obj)
    assert (row["Ready"], row["Status"]) == (ready, status)


def test_pods_restarts_say_when() -> None:
    last = {"terminated": {"exitCode": 1, "finishedAt": AGO_5M}}
    status = {"phase": "Running", "containerStatuses": [container(RUNNING, restartCount=3, lastState=last)]}
    assert cells(PODS, pod(status))["Restarts"] == "3 (5m ago)"
    assert cells(PODS, pod({"phase": "Running", "containerStatuses": [container(RUNNING)]}))["Restarts"] == "0"


def test_pods_wide() -> None:
    row = cells(PODS, pod({"podIPs": [{"ip": "10.1.0.2"}]}))
    assert row["Age"] == "5m"
    assert (row["IP"], row["Node"], row["Nominated Node"], row["Readiness Gates"]) == (
        "10.1.0.2", "<none>", "<none>", "<none>",
    )  # fmt: skip
    assert [column.name for column in PODS.columns if column.priority] == [
        "IP", "Node", "Nominated Node", "Readiness Gates",
    ]  # fmt: skip


def test_nodes() -> None:
    row = cells(NODES, {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.0"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        },
    })  # fmt: skip
    assert (row["Status"], row["Roles"], row["Version"]) == ("Ready,SchedulingDisabled", "control-plane", "v1.36.0")
    assert (row["Internal-IP"], row["External-IP"]) == ("10.0.0.1", "<none>")


@pytest.mark.parametrize(
    ("spec", "status", "external", "ports"),
    [
        ({"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]}, {}, "<none>", "80/TCP"),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]},
            {}, "<none>", "80:30080/TCP",
        ),
        ({"type": "LoadBalancer"}, {}, "<pending>", "<none>"),
        ({"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, "1.2.3.4", "<none>"),
        ({"type": "ExternalName", "externalName": "example.com"}, {}, "example.com", "<none>"),
    ],
)  # fmt: skip
def test_services(spec: dict[str, Any], status: dict[str, Any], external: str, ports: str) -> None:
    row = cells(SERVICES, {"spec": spec, "status": status})
    assert (row["External-IP"], row["Port(s)"]) == (external, ports)


def test_endpoints_show_three() -> None:
    addresses = [{"ip": f"10.0.0.{n}"} for n in range(5)]
    row = cells(ENDPOINTS, {"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]})
    assert row["Endpoints"] == "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."


def test_deployments() -> None:
    row = cells(DEPLOYMENTS, {
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "nginx"}]}},
        },
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2},
    })  # fmt: skip
    assert (row["Ready"], row["Up-to-date"], row["Available"]) == ("2/3", 3, 2)
    assert (row["Containers"], row["Images"], row["Selector"]) == ("c", "nginx", "app=web")


def test_jobs_and_cron_jobs() -> None:
    job = {
        "spec": {"completions": 3, "parallelism": 1},
        "status": {
            "succeeded": 3, "startTime": "2023-11-14T22:08:00Z", "completionTime": AGO_5M,
            "conditions": [{"type": "Complete", "status": "True"}],
        },
    }  # fmt: skip
    row = cells(JOBS, job)
    assert (row["Status"], row["Completions"], row["Duration"]) == ("Complete", "3/3", "20s")
    row = cells(CRON_JOBS, {"spec": {"schedule": "* * * * *", "suspend": False}, "status": {"active": [{}]}})
    assert (row["Suspend"], row["Active"], row["Last Schedule"], row["Timezone"]) == ("False", 1, "<none>", "<none>")


def test_claims_and_classes() -> None:
    claim = {
        "spec": {"volumeName": "pv", "volumeMode": "Filesystem"},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"]},
    }
    row = cells(PERSISTENT_VOLUME_CLAIMS, claim)
    assert (row["Status"], row["Capacity"], row["Access Modes"]) == ("Bound", "1Gi", "RWO,RWX")
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert cells(STORAGE_CLASSES, {"metadata": {"name": "std", "annotations": annotations}})["Name"] == "std (default)"


def test_autoscalers_show_current_and_target() -> None:
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}
    current = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12}}}
    obj = {"spec": {"metrics": [metric], "scaleTargetRef": {"kind": "Deployment", "name": "web"}}, "status": {}}
    assert cells(HORIZONTAL_POD_AUTOSCALERS, obj)["Targets"] == "cpu: <unknown>/80%"
    obj["status"] = {"currentMetrics": [current]}
    row = cells(HORIZONTAL_POD_AUTOSCALERS, obj)
    assert (row["Reference"], row["Targets"]) == ("Deployment/web", "cpu: 12%/80%")


def test_events_in_both_versions_show_the_same() -> None:
    event = {
        "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "web"}, "type": "Warning",
        "reason": "Failed", "message": "no such image\n", "lastTimestamp": AGO_5M, "source": {"component": "kubelet"},
    }  # fmt: skip
    row = cells(EVENTS, event)
    assert (row["Last Seen"], row["Object"], row["Message"]) == ("5m", "pod/web", "no such image")
    assert cells(EVENTS_V1, from_hub(event)) == row
