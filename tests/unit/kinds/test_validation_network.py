"""Networks, budgets and autoscalers that are wrong, and what upstream says of each."""

from typing import Any

import pytest

from tiphys.kinds.autoscaling.horizontalpodautoscaler import HORIZONTAL_POD_AUTOSCALERS
from tiphys.kinds.discovery.endpointslice import ENDPOINT_SLICES
from tiphys.kinds.networking.ingress import INGRESSES
from tiphys.kinds.networking.ingressclass import INGRESS_CLASSES
from tiphys.kinds.networking.ipaddress import IP_ADDRESSES
from tiphys.kinds.networking.networkpolicy import NETWORK_POLICIES
from tiphys.kinds.networking.servicecidr import SERVICE_CIDRS
from tiphys.kinds.policy.poddisruptionbudget import POD_DISRUPTION_BUDGETS

Json = dict[str, Any]
WEB = {"service": {"name": "web", "port": {"number": 80}}}


def ingress(**item: Any) -> Json:
    path = {"path": "/", "pathType": "Prefix", "backend": WEB, **item}
    return {"spec": {"rules": [{"http": {"paths": [path]}}]}}


def policy(**rule: Any) -> Json:
    return {"spec": {"ingress": [rule]}}


def peer(**fields: Any) -> Json:
    return policy(**{"from": [fields]})


def slice_(*addresses: str, kind: str = "IPv4", **fields: Any) -> Json:
    return {"addressType": kind, "endpoints": [{"addresses": list(addresses)}], **fields}


def autoscaler(*metrics: Json, **spec: Any) -> Json:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}
    return {"spec": {"scaleTargetRef": target, "maxReplicas": 2, "metrics": list(metrics), **spec}}


CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
PATH = "spec.rules[0].http.paths[0]"
CASES: list[tuple[Any, Json, list[str]]] = [
    (INGRESSES, ingress(), []),
    (INGRESSES, {"spec": {}}, ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
    (INGRESSES, {"spec": {"rules": [{"host": "1.2.3.4", "http": {}}]}}, [
        'spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address',
        "spec.rules[0].http.paths: Required value"]),
    (INGRESSES, ingress(pathType=None), [f"{PATH}.pathType: Required value: pathType must be specified"]),
    (INGRESSES, ingress(pathType="x"), [
        f'{PATH}.pathType: Unsupported value: "x": supported values: "Exact", "ImplementationSpecific", "Prefix"']),
    (INGRESSES, ingress(path="a//b/.."), [
        f'{PATH}.path: Invalid value: "a//b/..": must be an absolute path',
        f"{PATH}.path: Invalid value: \"a//b/..\": must not contain '//'",
        f"{PATH}.path: Invalid value: \"a//b/..\": cannot end with '/..'"]),
    (INGRESSES, ingress(backend={}), [f'{PATH}.backend: Invalid value: "": resource or service backend is required']),
    (INGRESSES, ingress(backend={"service": {"name": "", "port": {}}}), [
        f"{PATH}.backend.service.name: Required value",
        f"{PATH}.backend: Required value: port name or number is required"]),
    (INGRESSES, ingress(backend={"service": {"name": "a", "port": {"number": 1, "name": "b"}}}), [
        f'{PATH}.backend: Invalid value: "": cannot set both port name & port number']),
    (INGRESSES, ingress(backend={"resource": {"kind": "", "name": "a/b"}}), [
        f"{PATH}.backend.resource.kind: Required value: kind is required",
        f"{PATH}.backend.resource.name: Invalid value: \"a/b\": may not contain '/'"]),
    (INGRESS_CLASSES, {"spec": {"controller": "x"}}, [
        'spec.controller: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")']),
    (INGRESS_CLASSES, {"spec": {"controller": "x.io/y", "parameters": {
        "kind": "K", "name": "n", "scope": "Namespace"}}}, [
        "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]),
    (INGRESS_CLASSES, {"spec": {"controller": "x.io/y", "parameters": {
        "kind": "K", "name": "n", "namespace": "a"}}}, [
        "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"]),

    (NETWORK_POLICIES, peer(), ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
    (NETWORK_POLICIES, peer(podSelector={}, ipBlock={"cidr": "10.0.0.0/8"}), [
        "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"]),
    (NETWORK_POLICIES, peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}), [
        'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`']),
    (NETWORK_POLICIES, policy(ports=[{"port": "web", "endPort": 3}, {"port": 5, "endPort": 4}, {"endPort": 1}]), [
        "spec.ingress[0].ports[0].endPort: Invalid value: 3: may not be specified when `port` is non-numeric",
        "spec.ingress[0].ports[1].endPort: Invalid value: 5: must be greater than or equal to `port`",
        "spec.ingress[0].ports[2].endPort: Invalid value: 1: may not be specified when `port` is not specified"]),
    (NETWORK_POLICIES, {"spec": {"policyTypes": ["x"]}}, [
        'spec.policyTypes[0]: Unsupported value: "x": supported values: "Ingress", "Egress"']),

    (IP_ADDRESSES, {"metadata": {"name": "FD00::1"}, "spec": {}}, [
        'metadata.name: Invalid value: "FD00::1": must be in canonical form ("fd00::1")',
        "spec.parentRef: Required value"]),
    (IP_ADDRESSES, {"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": {"resource": "services"}}}, [
        "spec.parentRef.name: Required value"]),
    (SERVICE_CIDRS, {"spec": {"cidrs": []}}, ["spec.cidrs: Required value: at least one CIDR required"]),
    (SERVICE_CIDRS, {"spec": {"cidrs": ["10.0.0.1/8"]}}, [
        'spec.cidrs[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length']),
    (SERVICE_CIDRS, {"spec": {"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}}, [
        'spec.cidrs: Invalid value: {"cidrs":["10.0.0.0/8","11.0.0.0/8"]}: '
        "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"]),

    (ENDPOINT_SLICES, slice_(), ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
    (ENDPOINT_SLICES, slice_("fd00::1", "127.0.0.1"), [
        'endpoints[0].addresses[0]: Invalid value: "fd00::1": must be an IPv4 address',
        'endpoints[0].addresses[1]: Invalid value: "127.0.0.1": '
        "may not be in the loopback range (127.0.0.0/8, ::1/128)"]),
    (ENDPOINT_SLICES, slice_("a", kind="FQDN"), [
        'endpoints[0].addresses[0]: Invalid value: "a": '
        "should be a domain with at least two segments separated by dots"]),
    (ENDPOINT_SLICES, slice_("10.0.0.1", kind="x"), [
        'addressType: Unsupported value: "x": supported values: "FQDN", "IPv4", "IPv6"']),
    (ENDPOINT_SLICES, slice_("10.0.0.1", ports=[{"name": "a", "protocol": "x"}, {"name": "a", "port": 0}]), [
        'ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"',
        'ports[1].name: Duplicate value: "a"',
        "ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),

    (POD_DISRUPTION_BUDGETS, {"spec": {"minAvailable": 1, "maxUnavailable": "50%"}}, [
        'spec: Invalid value: {"minAvailable":1,"maxUnavailable":"50%"}: '
        "minAvailable and maxUnavailable cannot be both set"]),
    (POD_DISRUPTION_BUDGETS, {"spec": {"minAvailable": "101%"}}, [
        'spec.minAvailable: Invalid value: "101%": must not be greater than 100%']),
    (POD_DISRUPTION_BUDGETS, {"spec": {"maxUnavailable": -1, "unhealthyPodEvictionPolicy": "x"}}, [
        "spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0",
        'spec.unhealthyPodEvictionPolicy: Unsupported value: "x": supported values: "AlwaysAllow", "IfHealthyBudget"']),

    (HORIZONTAL_POD_AUTOSCALERS, autoscaler(CPU), []),
    (HORIZONTAL_POD_AUTOSCALERS, autoscaler(CPU, minReplicas=3, maxReplicas=0), [
        "spec.maxReplicas: Invalid value: 0: must be greater than 0",
        "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`"]),
    (HORIZONTAL_POD_AUTOSCALERS, autoscaler(CPU, minReplicas=0), [
        "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
        "spec.metrics: Forbidden: "
        "must specify at least one Object or External metric to support scaling to zero replicas"]),
    (HORIZONTAL_POD_AUTOSCALERS, autoscaler({"type": "Pods", "resource": CPU["resource"]}), [
        "spec.metrics[0].pods: Required value: must populate information for the given metric source"]),
    (HORIZONTAL_POD_AUTOSCALERS, autoscaler({"type": "Resource", "resource": {"name": "cpu", "target": {}}}), [
        "spec.metrics[0].resource.target.type: Required value: must specify a metric target type",
        "spec.metrics[0].resource.target.type: Invalid value: \"\": "
        "must be either Utilization, Value, or AverageValue",
        "spec.metrics[0].resource.target.averageUtilization: Required value: "
        "must set either a target raw value or a target utilization"]),
    (HORIZONTAL_POD_AUTOSCALERS, autoscaler(CPU, behavior={"scaleUp": {
        "stabilizationWindowSeconds": 3601, "selectPolicy": "x", "policies": [
            {"type": "Pods", "value": 0, "periodSeconds": 1801}]}}), [
        "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
        'spec.behavior.scaleUp.selectPolicy: Unsupported value: "x": supported values: "Disabled", "Max", "Min"',
        "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
        "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "obj", "expected"), CASES)
def test_what_creations_are_refused_for(problems: Any, kind: Any, obj: Json, expected: list[str]) -> None:
    assert problems(kind, obj) == expected


UPDATES: list[tuple[Any, Json, Json, list[str]]] = [
    (INGRESS_CLASSES, {"spec": {"controller": "x.io/y"}}, {"spec": {"controller": "x.io/z"}}, [
        'spec.controller: Invalid value: "x.io/z": field is immutable']),
    (SERVICE_CIDRS, {"spec": {"cidrs": ["10.0.0.0/8"]}}, {"spec": {"cidrs": ["10.0.0.0/8", "fd00::/112"]}}, []),
    (SERVICE_CIDRS, {"spec": {"cidrs": ["10.0.0.0/8"]}}, {"spec": {"cidrs": ["11.0.0.0/8"]}}, [
        'spec.cidrs: Invalid value: ["11.0.0.0/8"]: field is immutable']),
    (ENDPOINT_SLICES, slice_("10.0.0.1"), {"addressType": "IPv6", "endpoints": []}, [
        'addressType: Invalid value: "IPv6": field is immutable']),
    (POD_DISRUPTION_BUDGETS, {"spec": {}}, {"status": {"currentHealthy": -1}}, [
        "status.currentHealthy: Invalid value: -1: must be greater than or equal to 0"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "old", "changes", "expected"), UPDATES)
def test_what_updates_are_refused_for(
    update_problems: Any, kind: Any, old: Json, changes: Json, expected: list[str]
) -> None:
    assert update_problems(kind, old, lambda new: new.update(changes)) == expected


def test_ranges_that_can_be_read_in_two_ways(created: Any) -> None:
    obj = created(NETWORK_POLICIES, peer(ipBlock={"cidr": "10.0.0.1/8"}))
    assert list(NETWORK_POLICIES.strategy.warnings(obj, None)) == [
        'spec.ingress[0].from[0].ipBlock.cidr: CIDR value "10.0.0.1/8" is ambiguous in this context '
        '(should be "10.0.0.0/8" or "10.0.0.1/32"?)'
    ]
