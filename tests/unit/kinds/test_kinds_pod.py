"""Pods: what defaulting fills in, what is refused, and what may change."""

import copy
from typing import Any

import msgspec
import pytest

from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.pod_defaults import pull_policy
from tiphys.kinds.core.qos import qos_class


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", "image": "nginx:1"}], **spec}}


def container(**fields: Any) -> dict[str, Any]:
    return pod(containers=[{"name": "c", "image": "nginx:1", **fields}])


def test_a_bare_pod_gets_upstreams_defaults(created: Any) -> None:
    new = created(PODS, pod())
    assert new["spec"] == {
        "containers": [
            {
                "name": "c", "image": "nginx:1", "imagePullPolicy": "IfNotPresent", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }
        ],
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": True,
    }  # fmt: skip
    assert new["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "0" * 64, "Always"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_probes_ports_and_sources_are_filled_in(created: Any) -> None:
    new = created(
        PODS,
        container(
            ports=[{"containerPort": 80}],
            livenessProbe={"httpGet": {"port": 80}},
            env=[
                {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            ],
        ),
    )["spec"]["containers"][0]
    assert new["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert new["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
    }  # fmt: skip
    assert new["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
    assert new["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"] == "0"


def test_volumes_are_filled_in(created: Any) -> None:
    volumes = [
        {"name": "a"},
        {"name": "b", "configMap": {"name": "x"}},
        {"name": "c", "secret": {"secretName": "x", "defaultMode": 256}},
        {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        {"name": "e", "hostPath": {"path": "/x"}},
    ]
    assert created(PODS, pod(volumes=volumes))["spec"]["volumes"] == [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "configMap": {"name": "x", "defaultMode": 420}},
        {"name": "c", "secret": {"secretName": "x", "defaultMode": 256}},
        {
            "name": "d",
            "projected": {
                "defaultMode": 420,
                "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}],
            },
        },
        {"name": "e", "hostPath": {"path": "/x", "type": ""}},
    ]


def test_requests_follow_limits(created: Any) -> None:
    new = created(PODS, container(resources={"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}))
    assert new["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}
    assert new["status"]["qosClass"] == "Burstable"


def test_host_network_takes_the_containers_ports(created: Any) -> None:
    new = created(PODS, container(ports=[{"containerPort": 80}]))
    assert "hostPort" not in new["spec"]["containers"][0]["ports"][0]
    spec = container(ports=[{"containerPort": 80}])["spec"]
    new = created(PODS, {"spec": {**spec, "hostNetwork": True}})
    assert new["spec"]["containers"][0]["ports"][0]["hostPort"] == 80


def test_both_names_of_the_service_account_agree(created: Any) -> None:
    assert created(PODS, pod(serviceAccountName="sa"))["spec"]["serviceAccount"] == "sa"
    assert created(PODS, pod(serviceAccount="sa"))["spec"]["serviceAccountName"] == "sa"


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1000m", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1024Mi"}}], "Guaranteed"),
        ([{"limits": {"cpu": "1", "memory": "1Gi"}}, {}], "Burstable"),
        ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": {"example.com/gpu": "1"}}], "BestEffort"),
    ],
)
def test_the_qos_class(resources: list[dict[str, Any]], expected: str) -> None:
    assert qos_class({"containers": [{"resources": amounts} for amounts in resources]}) == expected


def test_a_good_pod_has_nothing_wrong(problems: Any) -> None:
    good = container(
        ports=[{"containerPort": 80, "name": "http"}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        readinessProbe={"tcpSocket": {"port": "http"}},
        lifecycle={"preStop": {"exec": {"command": ["true"]}}},
        resources={"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}},
        env=[{"name": "A", "value": "b"}],
    )
    good["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    good["spec"]["tolerations"] = [{"operator": "Exists"}]
    assert problems(PODS, good) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": [{"image": "x"}]}, "spec.containers[0].name: Required value"),
        ({"containers": [{"name": "a"}]}, "spec.containers[0].image: Required value"),
        (
            {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]},
            'spec.containers[1].name: Duplicate value: "a"',
        ),
        (
            {"restartPolicy": "Sometimes"},
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
        ),
        (
            {"containers": [{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
            'spec.containers[0].volumeMounts[0].name: Not found: "v"',
        ),
        (
            {"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 70000}]}]},
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            {
                "containers": [
                    {"name": "a", "image": "x", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}
                ]
            },
            'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
        ({"volumes": [{"name": "v", "ephemeral": {}}]},
         "spec.volumes[0].ephemeral.volumeClaimTemplate: Required value"),
        ({"volumes": [{"name": "v", "secret": {}}]}, "spec.volumes[0].secret.secretName: Required value"),
        (
            {"activeDeadlineSeconds": 0},
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        ({"dnsPolicy": "None"}, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        (
            {"tolerations": [{"key": "k", "effect": "NoSchedule", "tolerationSeconds": 3}]},
            'spec.tolerations[0].effect: Invalid value: "NoSchedule": '
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
        (
            {"topologySpreadConstraints": [{"topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            {"initContainers": [{"name": "i", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}]},
            "spec.initContainers[0].livenessProbe: Forbidden: "
            "may not be set for init containers without restartPolicy=Always",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(problems: Any, spec: dict[str, Any], expected: str) -> None:
    assert problems(PODS, pod(**spec)) == [expected]


def test_extended_resources_are_whole_and_not_overcommitted(problems: Any) -> None:
    assert problems(PODS, container(resources={"limits": {"x.io/gpu": "1"}})) == []
    found = problems(PODS, container(resources={"limits": {"x.io/gpu": "500m"}}))
    assert 'spec.containers[0].resources.limits[x.io/gpu]: Invalid value: "500m": must be an integer' in found
    assert problems(PODS, container(resources={"limits": {"x.io/gpu": "2"}, "requests": {"x.io/gpu": "1"}})) == [
        'spec.containers[0].resources.requests: Invalid value: "1": must be equal to x.io/gpu limit of 2'
    ]


def test_names_are_subdomains(problems: Any) -> None:
    found = problems(PODS, pod() | {"metadata": {"name": "Not_Valid"}})
    assert len(found) == 1
    assert found[0].startswith('metadata.name: Invalid value: "Not_Valid": a lowercase RFC 1123 subdomain must consist')


def set_image(new: dict[str, Any]) -> None:
    new["spec"]["containers"][0]["image"] = "nginx:2"


def add_toleration(new: dict[str, Any]) -> None:
    new["spec"].setdefault("tolerations", []).append({"key": "k", "operator": "Exists"})


def bind(new: dict[str, Any]) -> None:
    new["spec"]["nodeName"] = "n"


def set_deadline(new: dict[str, Any]) -> None:
    new["spec"]["activeDeadlineSeconds"] = 5


@pytest.mark.parametrize("change", [set_image, add_toleration, bind, set_deadline])
def test_what_may_change(update_problems: Any, change: Any) -> None:
    assert update_problems(PODS, pod(), change) == []


def test_nothing_else_of_the_spec_may_change(update_problems: Any) -> None:
    def change(new: dict[str, Any]) -> None:
        new["spec"]["hostname"] = "other"

    (found,) = update_problems(PODS, pod(), change)
    assert found.startswith("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`")
    assert 'hostname: null -> "other"' in found


def test_a_node_once_given_stays(update_problems: Any) -> None:
    def change(new: dict[str, Any]) -> None:
        new["spec"]["nodeName"] = "other"

    assert len(update_problems(PODS, pod(nodeName="n"), change)) == 1


def test_containers_may_not_be_added(update_problems: Any) -> None:
    def change(new: dict[str, Any]) -> None:
        new["spec"]["containers"].append({"name": "d", "image": "x"})

    assert update_problems(PODS, pod(), change) == [
        "spec.containers: Forbidden: pod updates may not add or remove containers"
    ]


def test_tolerations_may_not_be_removed(update_problems: Any) -> None:
    def change(new: dict[str, Any]) -> None:
        new["spec"]["tolerations"] = []

    (found,) = update_problems(PODS, pod(tolerations=[{"key": "k", "operator": "Exists"}]), change)
    assert found.startswith("spec.tolerations: Forbidden")


def test_deletion_waits_for_the_kubelet_only() -> None:
    assert PODS.grace is not None
    bound = pod(nodeName="n", terminationGracePeriodSeconds=7)
    assert PODS.grace(pod(), None) == 0
    assert PODS.grace(bound, None) == 7
    assert PODS.grace(bound, 0) == 0
    assert PODS.grace(bound, 60) == 60
    assert PODS.grace({**bound, "status": {"phase": "Succeeded"}}, None) == 0


def test_defaulting_leaves_what_was_said_alone(created: Any) -> None:
    said = pod(restartPolicy="Never", dnsPolicy="Default", terminationGracePeriodSeconds=0, enableServiceLinks=False)
    before = copy.deepcopy(said["spec"])
    after = created(PODS, said)["spec"]
    assert {name: after[name] for name in before if name != "containers"} == {
        name: value for name, value in before.items() if name != "containers"
    }


def test_components_read_what_the_server_stored(created: Any) -> None:
    stored = created(
        PODS,
        {
            "spec": {
                "containers": [
                    {
                        "name": "c", "image": "x", "ports": [{"containerPort": 80, "hostIP": "127.0.0.1"}],
                        "livenessProbe": {"httpGet": {"port": "http"}},
                        "resources": {"limits": {"cpu": "1"}, "claims": [{"name": "gpu"}]},
                        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                        "securityContext": {"seLinuxOptions": {"level": "s0"}, "capabilities": {"drop": ["ALL"]}},
                    }
                ],
                "initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always"}],
                "volumes": [
                    {"name": "a", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "spec.x"}}]}},
                    {"name": "b", "gitRepo": {"repository": "nobody mounts this"}},
                ],
                "affinity": {
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone", "labelSelector": {}}]
                    }
                },
                "hostPID": True, "setHostnameAsFQDN": True, "unknownField": 1,
            }
        },
    )  # fmt: skip
    read = msgspec.json.decode(msgspec.json.encode(stored), type=PODS.model)
    (container_,) = read.spec.containers
    assert (container_.ports[0].host_ip, container_.liveness_probe.http_get.port) == ("127.0.0.1", "http")
    assert container_.resources.requests == {"cpu": "1"}
    assert container_.security_context.se_linux_options.level == "s0"
    assert read.spec.init_containers[0].sidecar
    assert read.spec.volumes[0].downward_api.items[0].field_ref.field_path == "spec.x"
    assert read.spec.affinity.pod_anti_affinity.required[0].topology_key == "zone"
    assert (read.spec.host_pid, read.spec.set_hostname_as_fqdn) == (True, True)
    assert (read.status.qos_class, read.finished, read.deleted, read.ready) == ("Burstable", False, False, False)


def test_defaulting_a_stored_pod_changes_nothing(created: Any) -> None:
    stored = created(PODS, container(resources={"limits": {"cpu": "1"}}, ports=[{"containerPort": 1}]))
    again = copy.deepcopy(stored)
    PODS.strategy.default(again)
    PODS.strategy.prepare(again, stored)
    assert again == stored
