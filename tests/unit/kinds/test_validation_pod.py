"""Pods that are wrong, and what upstream says of each: path, value and words."""

import copy
from typing import Any

import pytest

from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.podtemplate import POD_TEMPLATES

Json = dict[str, Any]
C = "spec.containers[0]"
V = "spec.volumes[0]"


def pod(**spec: Any) -> Json:
    return {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}], **spec}}


def container(**fields: Any) -> Json:
    return pod(containers=[{"name": "c", "image": "nginx:1", **fields}])


def volume(**source: Any) -> Json:
    return pod(volumes=[{"name": "v", **source}])


CONTAINERS: list[tuple[Json, list[str]]] = [
    ({"name": "A"}, [
        f'{C}.name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters '
        "or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
        "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]),
    ({"image": " x"}, [f'{C}.image: Invalid value: " x": must not have leading or trailing whitespace']),
    ({"imagePullPolicy": "Often"}, [
        f'{C}.imagePullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"']),
    ({"terminationMessagePolicy": "x"}, [
        f'{C}.terminationMessagePolicy: Unsupported value: "x": supported values: "File", "FallbackToLogsOnError"']),
    ({"ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]}, [
        f'{C}.ports[1].name: Duplicate value: "a"']),
    ({"ports": [{"containerPort": 80, "hostPort": 1}, {"containerPort": 81, "hostPort": 1}]}, [
        f'{C}.ports[1].hostPort: Duplicate value: "TCP//1"']),
    ({"ports": [{"containerPort": 80, "protocol": "tcp"}]}, [
        f'{C}.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"']),
    ({"ports": [{"hostPort": 80}]}, [f"{C}.ports[0].containerPort: Required value"]),
    ({"env": [{"value": "x"}]}, [f"{C}.env[0].name: Required value"]),
    ({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}, [
        f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty']),
    ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]}, [
        f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: '
        '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", '
        '"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"']),
    ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.whoops"}}}]}, [
        f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.whoops": error converting fieldPath: '
        "field label not supported: metadata.whoops"]),
    ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name['x']"}}}]}, [
        f"{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.name['x']\": error converting fieldPath: "
        "field label does not support subscript: metadata.name['x']"]),
    ({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}]}, [
        f'{C}.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": '
        "only divisor's values 1m and 1 are supported with the cpu resource"]),
    ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}, [
        f"{C}.env[0].valueFrom.secretKeyRef.key: Required value"]),
    ({"envFrom": [{"prefix": "a"}]}, [
        f'{C}.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
    ({"volumeMounts": [{"name": "v", "mountPath": "/a"}]}, [f'{C}.volumeMounts[0].name: Not found: "v"']),
    ({"volumeDevices": [{"name": "v", "devicePath": "/a"}]}, [f'{C}.volumeDevices[0].name: Not found: "v"']),
    ({"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}}, [
        f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
    ({"readinessProbe": {"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 5}}, [
        f"{C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes"]),
    ({"livenessProbe": {"periodSeconds": -1}}, [
        f"{C}.livenessProbe: Required value: must specify a handler type",
        f"{C}.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"]),
    ({"livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}}, [
        f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"]),
    ({"livenessProbe": {"httpGet": {"port": 0, "scheme": "ftp"}}}, [
        f"{C}.livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        f'{C}.livenessProbe.httpGet.scheme: Unsupported value: "ftp": supported values: "HTTP", "HTTPS"']),
    ({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}, [
        f"{C}.lifecycle.preStop.sleep: Invalid value: 31: "
        "must be non-negative and less than terminationGracePeriodSeconds (30)"]),
    ({"resources": {"limits": {"cpu": "-1"}}}, [
        f'{C}.resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
        f'{C}.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
    ({"resources": {"requests": {"gold": "1"}}}, [
        f'{C}.resources.requests[gold]: Invalid value: "gold": must be a standard resource type or fully qualified',
        f'{C}.resources.requests[gold]: Invalid value: "gold": must be a standard resource for containers']),
    ({"resources": {"requests": {"x.io/gpu": "1"}}}, [
        f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources"]),
    ({"resources": {"limits": {"hugepages-2Mi": "2Mi"}}}, [
        f"{C}.resources: Forbidden: HugePages require cpu or memory"]),
    ({"resources": {"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}}}, [
        f'{C}.resources.limits[hugepages-2Mi]: Invalid value: "3Mi": '
        "3Mi is not positive integer multiple of hugepages-2Mi",
        f'{C}.resources.requests[hugepages-2Mi]: Invalid value: "3Mi": '
        "3Mi is not positive integer multiple of hugepages-2Mi"]),
    ({"resources": {"claims": [{"name": "gpu"}]}}, [
        f'{C}.resources.claims[0]: Not found: "gpu": '
        "must be one of the names in pod.spec.resourceClaims which is empty"]),
    ({"resizePolicy": [{"resourceName": "disk", "restartPolicy": "NotRequired"}]}, [
        f'{C}.resizePolicy: Unsupported value: "disk": supported values: "cpu", "memory"']),
    ({"securityContext": {"runAsUser": -1}}, [
        f"{C}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"]),
    ({"securityContext": {"procMount": "Unmasked"}}, [
        f'{C}.securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`']),
    ({"securityContext": {"seccompProfile": {"type": "Localhost"}}}, [
        f"{C}.securityContext.seccompProfile.localhostProfile: Required value: "
        "must be set when seccomp type is Localhost"]),
    ({"securityContext": {"appArmorProfile": {"type": "x"}}}, [
        f'{C}.securityContext.appArmorProfile.type: Unsupported value: "x": supported values: '
        '"Localhost", "RuntimeDefault", "Unconfined"']),
    ({"securityContext": {"windowsOptions": {"runAsUserName": ""}}}, [
        f'{C}.securityContext.windowsOptions.runAsUserName: Invalid value: "": '
        "runAsUserName cannot be an empty string"]),
    ({"securityContext": {"allowPrivilegeEscalation": False, "privileged": True}}, [
        f'{C}.securityContext: Invalid value: {{"allowPrivilegeEscalation":false,"privileged":true}}: '
        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"]),
    ({"restartPolicy": "Sometimes"}, [
        f'{C}.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"']),
    ({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]}, [
        f"{C}.restartPolicy: Required value: must specify restartPolicy when restart rules are used"]),
    ({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Stop"}]}, [
        f'{C}.restartPolicyRules[0].action: Unsupported value: "Stop": supported values: '
        '"Restart", "RestartAllContainers"',
        f"{C}.restartPolicyRules[0].exitCodes: Required value: must be specified"]),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), CONTAINERS)
def test_containers(problems: Any, fields: Json, expected: list[str]) -> None:
    assert problems(PODS, container(**fields)) == expected


VOLUMES: list[tuple[Json, list[str]]] = [
    ({"hostPath": {"path": "/a/../b"}}, [
        f"{V}.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
    ({"hostPath": {"path": "/a", "type": "x"}}, [
        f'{V}.hostPath.type: Unsupported value: "x": supported values: "", "BlockDevice", "CharDevice", "Directory", '
        '"DirectoryOrCreate", "File", "FileOrCreate", "Socket"']),
    ({"emptyDir": {}, "hostPath": {"path": "/a"}}, [
        f"{V}.hostPath: Forbidden: may not specify more than 1 volume type"]),
    ({"nfs": {"server": "s", "path": "x"}}, [f'{V}.nfs.path: Invalid value: "x": must be an absolute path']),
    ({"secret": {"secretName": "s", "defaultMode": 512}}, [
        f"{V}.secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive"]),
    ({"configMap": {"name": "s", "items": [{"key": "k", "path": "/a"}]}}, [
        f'{V}.configMap.items[0].path: Invalid value: "/a": must be a relative path']),
    ({"configMap": {"name": "s", "items": [{"key": "k", "path": "..a"}]}}, [
        f"{V}.configMap.items[0].path: Invalid value: \"..a\": must not start with '..'"]),
    ({"downwardAPI": {"items": [{"path": "a"}]}}, [
        f"{V}.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required"]),
    ({"projected": {"sources": [{"secret": {"name": "a"}, "configMap": {"name": "b"}}]}}, [
        f"{V}.projected.sources[0]: Forbidden: may not specify more than 1 volume type per source"]),
    ({"projected": {"sources": [{"configMap": {"name": n, "items": [{"key": "k", "path": "p"}]}} for n in "ab"]}}, [
        f'{V}.projected: Invalid value: "b": conflicting duplicate paths']),
    ({"projected": {"sources": [{"clusterTrustBundle": {"path": "p"}}]}}, [
        f"{V}.projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified"]),
    ({"iscsi": {"targetPortal": "p", "iqn": "x", "lun": 256}}, [
        f'{V}.iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa',
        f"{V}.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive"]),
    ({"gcePersistentDisk": {"partition": -1}}, [
        f"{V}.persistentDisk.pdName: Required value",
        f"{V}.persistentDisk.partition: Invalid value: -1: must be between 1 and 255, inclusive"]),
    ({"fc": {"targetWWNs": ["a"]}}, [f"{V}.fc.lun: Required value: lun is required if targetWWNs is specified"]),
    ({"csi": {"driver": ""}}, [
        f"{V}.csi.driver: Required value",
        f'{V}.csi.driver: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric '
        "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
        "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"]),
    ({"flexVolume": {"driver": "d", "options": {"a.k8s.io/b": "c"}}}, [
        f'{V}.flexVolume.options[a.k8s.io/b]: Invalid value: "a.k8s.io/b": '
        "kubernetes.io and k8s.io namespaces are reserved"]),
    ({"image": {}}, [f"{V}.image.reference: Required value"]),
    ({"ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "x"}, "spec": {}}}}, [
        f"{V}.ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
        f"{V}.ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
        f"{V}.ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value"]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), VOLUMES)
def test_volumes(problems: Any, source: Json, expected: list[str]) -> None:
    assert problems(PODS, volume(**source)) == expected


def test_mounts_of_volumes(problems: Any) -> None:
    mounts = [
        {"name": "v", "mountPath": "/a", "subPath": "../x"},
        {"name": "v", "mountPath": "/a", "mountPropagation": "Bidirectional"},
        {"name": "v", "mountPath": "/b", "recursiveReadOnly": "Enabled"},
    ]
    wrong = container(volumeMounts=mounts)
    wrong["spec"]["volumes"] = [{"name": "v", "emptyDir": {}}]
    assert problems(PODS, wrong) == [
        f"{C}.volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'",
        f'{C}.volumeMounts[1].mountPath: Invalid value: "/a": must be unique',
        f"{C}.volumeMounts.mountPropagation: Forbidden: "
        "Bidirectional mount propagation is available only to privileged containers",
        f"{C}.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
    ]


SPECS: list[tuple[Json, list[str]]] = [
    ({"nodeName": "n", "schedulingGates": [{"name": "a"}]}, [
        "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"]),
    ({"schedulingGates": [{"name": "a"}, {"name": "a"}]}, ['spec.schedulingGates[1]: Duplicate value: "a"']),
    ({"ephemeralContainers": [{"name": "e", "image": "x", "ports": [{"containerPort": 1}]}]}, [
        "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
        "spec.ephemeralContainers: Forbidden: cannot be set on create"]),
    ({"os": {"name": "plan9"}}, ['spec.os: Unsupported value: "plan9": supported values: "linux", "windows"']),
    ({"os": {"name": "windows"}, "hostPID": True}, ["spec.hostPID: Forbidden: cannot be set for a windows pod"]),
    ({"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}}, [
        "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"]),
    ({"hostUsers": False, "hostPID": True}, ["spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false"]),
    ({"hostPID": True, "shareProcessNamespace": True}, [
        "spec.securityContext.shareProcessNamespace: Invalid value: true: "
        "ShareProcessNamespace and HostPID cannot both be enabled"]),
    ({"securityContext": {"sysctls": [{"name": "net.x", "value": "1"}]}, "hostNetwork": True}, [
        "spec.securityContext.sysctls[0].name: Invalid value: \"net.x\": "
        "may not be specified when 'hostNetwork' is true"]),
    ({"securityContext": {"fsGroupChangePolicy": "x"}}, [
        'spec.securityContext.fsGroupChangePolicy: Unsupported value: "x": supported values: '
        '"Always", "OnRootMismatch"']),
    ({"preemptionPolicy": "x"}, [
        'spec.preemptionPolicy: Unsupported value: "x": supported values: "PreemptLowerPriority", "Never"']),
    ({"dnsConfig": {"nameservers": ["x"], "options": [{"value": "1"}]}}, [
        'spec.dnsConfig.nameservers[0]: Invalid value: "x": '
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        "spec.dnsConfig.options[0]: Required value: must not be empty"]),
    ({"hostAliases": [{"ip": "999.1.1.1"}]}, [
        'spec.hostAliases[0].ip: Invalid value: "999.1.1.1": '
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]),
    ({"resourceClaims": [{"name": "a"}]}, [
        'spec.resourceClaims[0]: Invalid value: {"name":"a"}: '
        "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"]),
    ({"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}]}, [
        "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: "
        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"]),
    ({"topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"} for _ in range(2)]}, [
        "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "
        '"{z, ScheduleAnyway}"']),
    ({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}, [
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
        "must have at least one node selector term"]),
    ({"tolerations": [{"key": "a", "operator": "Near"}]}, [
        'spec.tolerations[0].operator: Unsupported value: "Near": supported values: "Equal", "Exists"']),
    ({"overhead": {"gold": "1"}}, [
        'spec.overhead.limits[gold]: Invalid value: "gold": must be a standard resource type or fully qualified',
        'spec.overhead.limits[gold]: Invalid value: "gold": must be a standard resource for containers']),
    ({"resources": {"requests": {"x.io/gpu": "1"}, "limits": {"x.io/gpu": "1"}}}, [
        'spec.resources.limits[x.io/gpu]: Unsupported value: "x.io/gpu": supported values: '
        '"cpu", "hugepages-", "memory"',
        'spec.resources.requests[x.io/gpu]: Unsupported value: "x.io/gpu": supported values: '
        '"cpu", "hugepages-", "memory"']),
    ({"initContainers": [{"name": "c", "image": "x"}]}, ['spec.initContainers[0].name: Duplicate value: "c"']),
    ({"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "p"}}]}}]}, [
        "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: "
        "must not be specified when serviceAccountName is not set"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), SPECS)
def test_specs(problems: Any, spec: Json, expected: list[str]) -> None:
    assert problems(PODS, pod(**spec)) == expected


def test_annotations(problems: Any) -> None:
    wrong = pod()
    cost, mirror = "controller.kubernetes.io/pod-deletion-cost", "kubernetes.io/config.mirror"
    wrong["metadata"]["annotations"] = {cost: "1.5", mirror: ""}
    assert problems(PODS, wrong) == [
        f'metadata.annotations[{mirror}]: Invalid value: "": must set spec.nodeName if mirror pod annotation is set',
        f'metadata.annotations[{cost}]: Invalid value: "1.5": must be a 32bit integer',
    ]


def updated(old: Json, change: Any, update_problems: Any) -> list[str]:
    found: list[str] = update_problems(PODS, old, change)
    return found


def test_only_a_gated_pods_placement_may_be_narrowed(update_problems: Any) -> None:
    gated = pod(schedulingGates=[{"name": "g"}], nodeSelector={"a": "b"})

    def narrow(new: Json) -> None:
        new["spec"]["nodeSelector"]["c"] = "d"

    def widen(new: Json) -> None:
        new["spec"]["nodeSelector"] = {"c": "d"}

    def add_gate(new: Json) -> None:
        new["spec"]["schedulingGates"].append({"name": "h"})

    assert updated(gated, narrow, update_problems) == []
    assert updated(gated, widen, update_problems) == [
        'spec.nodeSelector: Invalid value: {"c":"d"}: '
        "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
    ]
    assert updated(gated, add_gate, update_problems) == [
        "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'"
    ]


def test_a_deadline_only_comes_nearer(update_problems: Any) -> None:
    def extend(new: Json) -> None:
        new["spec"]["activeDeadlineSeconds"] = 9

    assert updated(pod(activeDeadlineSeconds=5), extend, update_problems) == [
        "spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"
    ]


def test_a_resize_keeps_the_class_and_takes_nothing_away(update_problems: Any) -> None:
    sized = container(resources={"limits": {"cpu": "1", "memory": "1Gi"}})

    def drop(new: Json) -> None:
        new["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}

    assert updated(sized, drop, update_problems) == [
        'spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing',
        f"{C}.resources.requests: Forbidden: resource requests cannot be removed",
        f"{C}.resources.limits: Forbidden: resource limits cannot be removed",
    ]


def status_problems(before: Json, after: Json, **spec: Any) -> list[str]:
    old = {**pod(restartPolicy="Never", **spec), "status": before}
    new = copy.deepcopy(old) | {"status": after}
    return [str(error) for error in PODS.strategy.validate(new, old)]


def test_statuses() -> None:
    ended = {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 1}}}]}
    running: Json = {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}
    assert status_problems(running, ended) == []
    assert status_problems(ended, running) == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]
    assert status_problems({}, {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}) == [
        'status.podIPs: Invalid value: [{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]: '
        "may specify no more than one IP for each IP family"
    ]
    assert status_problems({}, {"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]}) == [
        'status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`'
    ]
    assert status_problems({"qosClass": "Burstable"}, {"qosClass": "BestEffort"}) == [
        'status.qosClass: Invalid value: "BestEffort": field is immutable'
    ]


def test_labels_keys_become_part_of_selectors(created: Any) -> None:
    term = {"topologyKey": "z", "labelSelector": {}, "matchLabelKeys": ["app"], "mismatchLabelKeys": ["tenant"]}
    new = pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    new["metadata"]["labels"] = {"app": "web", "tenant": "x"}
    (merged,) = created(PODS, new)["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert merged["labelSelector"]["matchExpressions"] == [
        {"key": "app", "operator": "In", "values": ["web"]},
        {"key": "tenant", "operator": "NotIn", "values": ["x"]},
    ]


def warned(obj: Json, created: Any) -> list[str]:
    return list(PODS.strategy.warnings(created(PODS, obj), None))


def test_warnings(created: Any) -> None:
    assert warned(pod(), created) == []
    assert warned(container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]), created) == []
    assert warned(container(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]), created) == [
        f'{C}.env[1]: hides previous definition of "A", which may be dropped when using apply'
    ]
    assert warned(container(ports=[{"containerPort": 80}, {"containerPort": 80}]), created) == [
        f"{C}.ports[1]: duplicate port definition with {C}.ports[0]"
    ]
    assert warned(pod(nodeSelector={"beta.kubernetes.io/os": "linux"}), created) == [
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'
    ]
    assert warned(container(resources={"requests": {"memory": "100m"}}), created) == [
        f'{C}.resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer'
    ]
    assert warned(pod(terminationGracePeriodSeconds=-1), created) == [
        "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
    ]


def test_templates_are_checked_as_pods_are_but_for_what_only_pods_have(problems: Any) -> None:
    good = {"containers": [{"name": "c", "image": " x"}], "volumes": [{"name": "v", "image": {}}]}
    assert problems(POD_TEMPLATES, {"template": {"spec": good}}) == []
    bad = {"template": {"spec": {"containers": [{"name": "c"}]}}}
    assert problems(POD_TEMPLATES, bad) == ["template.spec.containers[0].image: Required value"]
