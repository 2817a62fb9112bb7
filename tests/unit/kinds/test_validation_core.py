"""Services, storage, quotas and the other core kinds that are wrong, and what upstream says of each."""

import base64
from typing import Any

import pytest

from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.endpoints import ENDPOINTS
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.limitrange import LIMIT_RANGES
from tiphys.kinds.core.namespace import NAMESPACES
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.core.resourcequota import RESOURCE_QUOTAS
from tiphys.kinds.core.secret import SECRETS
from tiphys.kinds.core.service import SERVICES

Json = dict[str, Any]


def service(**spec: Any) -> Json:
    return {"spec": {"ports": [{"port": 80}], **spec}}


SERVICE_CASES: list[tuple[Json, list[str]]] = [
    ({"ports": [{"port": 80}, {"port": 80}]}, [
        "spec.ports[0].name: Required value", "spec.ports[1].name: Required value",
        'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,'
        '"NodePort":0}']),
    ({"ports": [{"port": 80, "targetPort": "a--b"}]}, [
        'spec.ports[0].targetPort: Invalid value: "a--b": must not contain consecutive hyphens']),
    ({"type": "ExternalName", "externalName": "a.b", "clusterIPs": ["None"], "clusterIP": "None"}, [
        "spec.clusterIPs: Forbidden: may not be set for ExternalName services"]),
    ({"type": "LoadBalancer", "clusterIP": "None"}, [
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services"]),
    ({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}, [
        'spec.clusterIPs: Invalid value: ["10.0.0.2"]: first value must match `clusterIP`']),
    ({"clusterIPs": ["10.0.0.1", "10.0.0.2"]}, [
        'spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: '
        "may specify no more than one IP for each IP family"]),
    ({"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv6"]}, [
        'spec.clusterIPs[0]: Invalid value: "10.0.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`']),
    ({"ipFamilyPolicy": "x"}, [
        'spec.ipFamilyPolicy: Unsupported value: "x": supported values: '
        '"PreferDualStack", "RequireDualStack", "SingleStack"']),
    ({"externalIPs": ["127.0.0.1"]}, [
        'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)']),
    ({"sessionAffinity": "x"}, [
        'spec.sessionAffinity: Unsupported value: "x": supported values: "ClientIP", "None"']),
    ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}}, [
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: "
        "must be greater than 0 and less than 86400"]),
    ({"externalTrafficPolicy": "Local"}, [
        'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services']),
    ({"loadBalancerClass": "x.io/y"}, [
        "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ({"allocateLoadBalancerNodePorts": False}, [
        "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ({"loadBalancerSourceRanges": ["10.0.0.0/33"], "type": "LoadBalancer"}, [
        'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.0/33": '
        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]),
    ({"healthCheckNodePort": 30000}, [
        "spec.healthCheckNodePort: Invalid value: 30000: "
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"]),
    ({"trafficDistribution": "x"}, [
        'spec.trafficDistribution: Unsupported value: "x": supported values: '
        '"PreferClose", "PreferSameNode", "PreferSameZone"']),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), SERVICE_CASES)
def test_services(problems: Any, spec: Json, expected: list[str]) -> None:
    assert problems(SERVICES, service(**spec)) == expected


def test_a_service_may_lose_its_second_address_only_on_purpose(update_problems: Any) -> None:
    both = service(clusterIPs=["10.0.0.1", "fd00::1"], ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="PreferDualStack")

    def release(new: Json) -> None:
        new["spec"] |= {"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"]}

    assert update_problems(SERVICES, both, release) == [
        "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": "
        "must be set to 'SingleStack' when releasing the secondary clusterIP",
        "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": "
        "must be set to 'SingleStack' when releasing the secondary ipFamily",
    ]  # fmt: skip


def test_where_a_load_balancer_is() -> None:
    old = {"metadata": {"name": "a"}, **service(type="LoadBalancer"), "status": {"loadBalancer": {}}}
    new = {**old, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "1.2.3.4"}]}}}
    assert [str(error) for error in SERVICES.strategy.validate(new, old)] == [
        "status.loadBalancer.ingress[0].ipMode: Required value: must be specified when `ip` is set",
        'status.loadBalancer.ingress[1].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address',
    ]


def test_what_services_are_warned_of(created: Any) -> None:
    outside = created(SERVICES, service(externalIPs=["FD00::1"], trafficDistribution="PreferClose"))
    assert list(SERVICES.strategy.warnings(outside, None)) == [
        'spec.externalIPs[0]: IPv6 address "FD00::1" should be in RFC 5952 canonical format ("fd00::1")',
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
        'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"',
    ]


def claim(**spec: Any) -> Json:
    return {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}}


CLAIM_CASES: list[tuple[Json, list[str]]] = [
    ({"accessModes": []}, ["spec.accessModes: Required value: at least 1 access mode is required"]),
    ({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}, [
        "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"]),
    ({"resources": {}}, ["spec.resources[storage]: Required value"]),
    ({"resources": {"requests": {"storage": "0"}}}, [
        'spec.resources[storage]: Invalid value: "0": must be greater than zero']),
    ({"dataSource": {"kind": "Pod", "name": "a"}, "dataSourceRef": {"kind": "Pod", "name": "a"}}, [
        "spec.dataSource: Invalid value: \"Pod\": "
        "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        "spec.dataSourceRef: Invalid value: \"Pod\": "
        "must be 'PersistentVolumeClaim' when referencing the default apiGroup"]),
    ({"volumeMode": "x"}, ['spec.volumeMode: Unsupported value: "x": supported values: "Block", "Filesystem"']),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), CLAIM_CASES)
def test_claims(problems: Any, spec: Json, expected: list[str]) -> None:
    assert problems(PERSISTENT_VOLUME_CLAIMS, claim(**spec)) == expected


def volume(**spec: Any) -> Json:
    return {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], **spec}}


VOLUME_CASES: list[tuple[Json, list[str]]] = [
    ({}, ["spec: Required value: must specify a volume type"]),
    ({"hostPath": {"path": "/a"}, "nfs": {"server": "s", "path": "/b"}}, [
        "spec.nfs: Forbidden: may not specify more than 1 volume type"]),
    ({"capacity": {}, "hostPath": {"path": "/a"}}, [
        "spec.capacity: Required value", 'spec.capacity: Unsupported value: null: supported values: "storage"']),
    ({"local": {"path": "/a"}}, ["spec.nodeAffinity: Required value: Local volume requires node affinity"]),
    ({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}, [
        "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"]),
    ({"csi": {"driver": "d.io"}}, ["spec.csi.volumeHandle: Required value"]),
    ({"hostPath": {"path": "/a"}, "volumeAttributesClassName": "x"}, [
        "spec.csi: Required value: has to be specified when using volumeAttributesClassName"]),
    ({"hostPath": {"path": "/a"}, "nodeAffinity": {}}, [
        "spec.nodeAffinity.required: Required value: must specify required node constraints"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), VOLUME_CASES)
def test_volumes(problems: Any, spec: Json, expected: list[str]) -> None:
    assert problems(PERSISTENT_VOLUMES, volume(**spec)) == expected


def test_a_volumes_source_stays(update_problems: Any) -> None:
    def change(new: Json) -> None:
        new["spec"]["hostPath"]["path"] = "/b"
        new["spec"]["volumeMode"] = "Block"

    assert update_problems(PERSISTENT_VOLUMES, volume(hostPath={"path": "/a"}), change) == [
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
        'volumeMode: Invalid value: "Block": field is immutable',
    ]


QUOTA_CASES: list[tuple[Json, list[str]]] = [
    ({"hard": {"gold": "1"}}, [
        'spec.hard[gold]: Invalid value: "gold": must be a standard resource type or fully qualified',
        'spec.hard[gold]: Invalid value: "gold": must be a standard resource for quota']),
    ({"hard": {"pods": "1500m"}}, ['spec.hard[pods]: Invalid value: "1500m": must be an integer']),
    ({"hard": {"cpu": "-1"}}, ['spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
    ({"scopes": ["x"]}, ['spec.scopes: Invalid value: ["x"]: unsupported scope']),
    ({"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}, [
        'spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource']),
    ({"scopes": ["BestEffort", "NotBestEffort"]}, [
        'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes']),
    ({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}, [
        "spec.scopeSelector.matchExpressions.values: Required value: "
        "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), QUOTA_CASES)
def test_quotas(problems: Any, spec: Json, expected: list[str]) -> None:
    assert problems(RESOURCE_QUOTAS, {"spec": spec}) == expected


LIMIT_CASES: list[tuple[Json, list[str]]] = [
    ({"type": "Node"}, [
        'spec.limits[0].type: Invalid value: "Node": must be a standard limit type or fully qualified']),
    ({"type": "Pod", "default": {"cpu": "1"}}, [
        "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"]),
    ({"type": "PersistentVolumeClaim"}, [
        "spec.limits[0].limits: Required value: "
        "either minimum or maximum storage value is required, but neither was provided"]),
    ({"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}}, [
        'spec.limits[0].default[cpu]: Invalid value: "1": default value 2 is greater than max value 1']),
    ({"type": "Container", "maxLimitRequestRatio": {"cpu": "500m"}}, [
        'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1']),
]  # fmt: skip


@pytest.mark.parametrize(("item", "expected"), LIMIT_CASES)
def test_limit_ranges(problems: Any, item: Json, expected: list[str]) -> None:
    assert problems(LIMIT_RANGES, {"spec": {"limits": [item]}}) == expected


def test_secrets(problems: Any) -> None:
    config = {"type": "kubernetes.io/dockerconfigjson"}
    assert problems(SECRETS, config) == ["data[.dockerconfigjson]: Required value"]
    wrong = {".dockerconfigjson": base64.b64encode(b"x").decode()}
    assert problems(SECRETS, {**config, "data": wrong}) == [
        'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": '
        "invalid character 'x' looking for beginning of value"
    ]
    big = {"a": base64.b64encode(bytes(1024 * 1024 + 1)).decode()}
    assert problems(SECRETS, {"data": big}) == ["data: Too long: may not be more than 1048576 bytes"]
    assert problems(SECRETS, {"data": {"a": base64.b64encode(bytes(1024 * 1024)).decode()}}) == []


def test_config_maps_say_a_key_once(problems: Any) -> None:
    assert problems(CONFIG_MAPS, {"data": {"a": "1"}, "binaryData": {"a": "MQ=="}}) == [
        'data[a]: Invalid value: "a": duplicate of key present in binaryData'
    ]


def test_namespaces(problems: Any) -> None:
    assert problems(NAMESPACES, {"spec": {"finalizers": ["mine"]}}) == [
        'spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified'
    ]
    old = {"metadata": {"name": "a"}, "status": {"phase": "Active"}}
    new = {**old, "status": {"phase": "Terminating"}}
    assert [str(error) for error in NAMESPACES.strategy.validate(new, old)] == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_nodes(problems: Any, update_problems: Any) -> None:
    taint = {"key": "k", "effect": "NoSchedule"}
    assert problems(NODES, {"spec": {"taints": [taint, taint]}}) == [
        'metadata.taints[1]: Duplicate value: {"key":"k","effect":"NoSchedule"}: '
        "taints must be unique by key and effect pair"
    ]
    assert problems(NODES, {"spec": {"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}}) == [
        'spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: '
        "may specify no more than one CIDR for each IP family"
    ]

    def change(new: Json) -> None:
        new["spec"] |= {"providerID": "b", "podCIDRs": ["10.0.1.0/24"]}

    assert update_problems(NODES, {"spec": {"providerID": "a", "podCIDRs": ["10.0.0.0/24"]}}, change) == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
        'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
    ]


def test_endpoints(problems: Any) -> None:
    subset = {"addresses": [{"ip": "169.254.1.1", "hostname": "A"}], "ports": [{"port": 0}, {"name": "b", "port": 1}]}
    found = problems(ENDPOINTS, {"subsets": [subset]})
    assert found[0].startswith('subsets[0].addresses[0].hostname: Invalid value: "A"')
    assert found[1:] == [
        'subsets[0].addresses[0].ip: Invalid value: "169.254.1.1": '
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        "subsets[0].ports[0].name: Required value",
        "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
    ]


def test_events_of_the_new_kind_say_who_did_what(problems: Any) -> None:
    event = {"metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z"}
    found = problems(EVENTS, event)
    assert found[0] == "reportingController: Required value"
    assert found[-3:] == ["reportingInstance: Required value", "action: Required value", "reason: Required value"]
