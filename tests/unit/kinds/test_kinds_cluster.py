"""Storage, networking, autoscaling, admission, certificates and definitions; and versions of one kind."""

import copy
from typing import Any

import pytest

from tiphys.kinds.admissionregistration.mutatingwebhookconfiguration import MUTATING_WEBHOOK_CONFIGURATIONS
from tiphys.kinds.apiextensions.customresourcedefinition import CUSTOM_RESOURCE_DEFINITIONS
from tiphys.kinds.apiregistration.apiservice import API_SERVICES
from tiphys.kinds.autoscaling import horizontalpodautoscaler_v1 as hpa_v1
from tiphys.kinds.autoscaling.horizontalpodautoscaler import HORIZONTAL_POD_AUTOSCALERS
from tiphys.kinds.coordination.lease import LEASES
from tiphys.kinds.core.persistentvolume import PERSISTENT_VOLUMES
from tiphys.kinds.core.persistentvolumeclaim import PERSISTENT_VOLUME_CLAIMS
from tiphys.kinds.events import event as events_v1
from tiphys.kinds.networking.ingress import INGRESSES
from tiphys.kinds.networking.networkpolicy import NETWORK_POLICIES
from tiphys.kinds.networking.servicecidr import SERVICE_CIDRS
from tiphys.kinds.policy.poddisruptionbudget import POD_DISRUPTION_BUDGETS
from tiphys.kinds.registry import BETA
from tiphys.kinds.storage.csidriver import CSI_DRIVERS
from tiphys.kinds.storage.storageclass import STORAGE_CLASSES


def claim(**spec: Any) -> dict[str, Any]:
    return {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}}


def test_claims(created: Any, problems: Any, update_problems: Any) -> None:
    new = created(PERSISTENT_VOLUME_CLAIMS, claim())
    assert (new["spec"]["volumeMode"], new["status"]) == ("Filesystem", {"phase": "Pending"})
    assert problems(PERSISTENT_VOLUME_CLAIMS, claim()) == []
    assert problems(PERSISTENT_VOLUME_CLAIMS, claim(accessModes=[])) == [
        "spec.accessModes: Required value: at least 1 access mode is required"
    ]

    def bind(new: dict[str, Any]) -> None:
        new["spec"]["volumeName"] = "pv"

    def grow(new: dict[str, Any]) -> None:
        new["spec"]["resources"]["requests"]["storage"] = "2Gi"

    def retype(new: dict[str, Any]) -> None:
        new["spec"]["storageClassName"] = "other"

    assert update_problems(PERSISTENT_VOLUME_CLAIMS, claim(), bind) == []
    bound = claim() | {"metadata": {"name": "c"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
    grown = copy.deepcopy(bound)
    grow(grown)
    assert list(PERSISTENT_VOLUME_CLAIMS.strategy.validate(grown, bound)) == []
    (found,) = update_problems(PERSISTENT_VOLUME_CLAIMS, claim(), grow)
    assert found.startswith("spec: Forbidden: spec is immutable after creation except")
    (found,) = update_problems(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="a"), retype)
    assert found.startswith("spec: Forbidden: spec is immutable after creation except")


def test_volumes(created: Any, problems: Any) -> None:
    volume = {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}
    spec = created(PERSISTENT_VOLUMES, volume)["spec"]
    assert (spec["persistentVolumeReclaimPolicy"], spec["volumeMode"]) == ("Retain", "Filesystem")
    assert problems(PERSISTENT_VOLUMES, volume) == []
    del volume["spec"]["hostPath"]
    assert problems(PERSISTENT_VOLUMES, volume) == ["spec: Required value: must specify a volume type"]


def test_storage_classes_and_drivers(created: Any, problems: Any, update_problems: Any) -> None:
    new = created(STORAGE_CLASSES, {"provisioner": "example.com/disk"})
    assert (new["reclaimPolicy"], new["volumeBindingMode"]) == ("Delete", "Immediate")
    assert problems(STORAGE_CLASSES, {}) == ["provisioner: Required value"]

    def change(new: dict[str, Any]) -> None:
        new["parameters"] = {"a": "b"}

    assert update_problems(STORAGE_CLASSES, {"provisioner": "x.com/y"}, change) == [
        "parameters: Forbidden: updates to parameters are forbidden."
    ]
    assert created(CSI_DRIVERS, {})["spec"]["volumeLifecycleModes"] == ["Persistent"]


def test_leases(problems: Any) -> None:
    assert problems(LEASES, {"spec": {"leaseDurationSeconds": 0}}) == [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"
    ]


def ingress(**path: Any) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    item = {"path": "/", "pathType": "Prefix", "backend": backend, **path}
    return {"spec": {"rules": [{"host": "example.com", "http": {"paths": [item]}}]}}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (ingress(), []),
        (ingress(path="x"), ['spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path']),
        (
            ingress(pathType=None),
            ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
        ),
        (
            ingress(backend={"service": {"name": "web"}}),
            ["spec.rules[0].http.paths[0].backend: Required value: port name or number is required"],
        ),
        (
            {"spec": {}},
            ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
        ),
    ],
)
def test_ingresses(problems: Any, obj: dict[str, Any], expected: list[str]) -> None:
    assert problems(INGRESSES, obj) == expected


def test_network_policies(created: Any, problems: Any) -> None:
    rule = {"ports": [{"port": 53}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}
    spec = created(NETWORK_POLICIES, {"spec": {"egress": [rule]}})["spec"]
    assert (spec["podSelector"], spec["policyTypes"]) == ({}, ["Ingress", "Egress"])
    assert spec["egress"][0]["ports"] == [{"port": 53, "protocol": "TCP"}]
    assert problems(NETWORK_POLICIES, {"spec": {"egress": [rule]}}) == []
    rule["to"] = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]
    (found,) = problems(NETWORK_POLICIES, {"spec": {"egress": [rule]}})
    assert found.startswith('spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict')
    assert problems(NETWORK_POLICIES, {"spec": {"ingress": [{"from": [{}]}]}}) == [
        "spec.ingress[0].from[0]: Required value: must specify a peer"
    ]


def test_service_ranges_only_grow(update_problems: Any) -> None:
    def grow(new: dict[str, Any]) -> None:
        new["spec"]["cidrs"].append("fd00::/112")

    def swap(new: dict[str, Any]) -> None:
        new["spec"]["cidrs"] = ["10.2.0.0/16"]

    old = {"spec": {"cidrs": ["10.1.0.0/16"]}}
    assert update_problems(SERVICE_CIDRS, old, grow) == []
    assert len(update_problems(SERVICE_CIDRS, old, swap)) == 1


def test_budgets(problems: Any) -> None:
    (found,) = problems(POD_DISRUPTION_BUDGETS, {"spec": {"minAvailable": 1, "maxUnavailable": 1}})
    assert found.endswith("minAvailable and maxUnavailable cannot be both set")
    assert problems(POD_DISRUPTION_BUDGETS, {"spec": {"minAvailable": "150%"}}) == [
        'spec.minAvailable: Invalid value: "150%": must not be greater than 100%'
    ]


def test_autoscalers(created: Any, problems: Any) -> None:
    obj = {"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}}
    spec = created(HORIZONTAL_POD_AUTOSCALERS, obj)["spec"]
    assert spec["minReplicas"] == 1
    assert spec["metrics"][0]["resource"] == {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80},
    }  # fmt: skip
    assert problems(HORIZONTAL_POD_AUTOSCALERS, obj) == []
    obj["spec"]["minReplicas"] = 5
    assert problems(HORIZONTAL_POD_AUTOSCALERS, obj) == [
        "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"
    ]


def test_autoscaling_v1_is_v2_in_other_words() -> None:
    old = {
        "apiVersion": "autoscaling/v1", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70},
        "status": {"currentCPUUtilizationPercentage": 12},
    }  # fmt: skip
    before = copy.deepcopy(old)
    hub = hpa_v1.to_hub(old)
    assert hub["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    ]
    memory = {"type": "Resource", "resource": {"name": "memory", "target": {"averageUtilization": 50}}}
    hub["spec"]["metrics"].append(memory)
    again = hpa_v1.from_hub(hub)
    assert again["spec"]["targetCPUUtilizationPercentage"] == 70
    assert "autoscaling.alpha.kubernetes.io/metrics" in again["metadata"]["annotations"]
    assert hpa_v1.to_hub(again) == hub
    assert old == before


def test_events_v1_renames_fields() -> None:
    old = {
        "apiVersion": "events.k8s.io/v1", "metadata": {"name": "e"}, "note": "n", "regarding": {"kind": "Pod"},
        "reportingController": "c", "deprecatedCount": 2, "eventTime": "2023-11-14T22:00:00.000000Z",
    }  # fmt: skip
    hub = events_v1.to_hub(old)
    assert (hub["apiVersion"], hub["message"], hub["involvedObject"], hub["count"]) == ("v1", "n", {"kind": "Pod"}, 2)
    assert events_v1.from_hub(hub) == old


def test_beta_versions_share_the_store_with_their_hub() -> None:
    aliases = [kind for kind in BETA if kind.hub is not None]
    assert aliases
    for kind in aliases:
        assert kind.hub is not None
        assert kind.prefix == kind.hub.prefix


def webhook(**fields: Any) -> dict[str, Any]:
    return {
        "webhooks": [
            {
                "name": "a.b.c", "clientConfig": {"url": "https://x"}, "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}],
                **fields,
            }
        ]
    }  # fmt: skip


def test_webhooks(created: Any, problems: Any) -> None:
    new = created(MUTATING_WEBHOOK_CONFIGURATIONS, webhook())["webhooks"][0]
    assert {name: new[name] for name in ("failurePolicy", "matchPolicy", "timeoutSeconds", "reinvocationPolicy")} == {
        "failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10, "reinvocationPolicy": "Never",
    }  # fmt: skip
    assert (new["namespaceSelector"], new["objectSelector"], new["rules"][0]["scope"]) == ({}, {}, "*")
    assert problems(MUTATING_WEBHOOK_CONFIGURATIONS, webhook()) == []
    assert problems(MUTATING_WEBHOOK_CONFIGURATIONS, webhook(timeoutSeconds=31)) == [
        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"
    ]


def crd(**spec: Any) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    names = {"plural": "ships", "kind": "Ship"}
    return {
        "metadata": {"name": "ships.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version], **spec},
    }


def test_definitions(created: Any, problems: Any) -> None:
    new = created(CUSTOM_RESOURCE_DEFINITIONS, crd())
    assert new["spec"]["names"] == {"plural": "ships", "kind": "Ship", "singular": "ship", "listKind": "ShipList"}
    assert (new["spec"]["conversion"], new["status"]) == ({"strategy": "None"}, {"storedVersions": ["v1"]})
    assert problems(CUSTOM_RESOURCE_DEFINITIONS, crd()) == []
    assert problems(CUSTOM_RESOURCE_DEFINITIONS, crd(group="other.example.com")) == [
        'metadata.name: Invalid value: "ships.example.com": must be spec.names.plural+"."+spec.group'
    ]
    found = problems(CUSTOM_RESOURCE_DEFINITIONS, crd(versions=[{**crd()["spec"]["versions"][0], "storage": False}]))
    assert found[0].endswith("must have exactly one version marked as storage version")
    assert found[1] == "status.storedVersions: Invalid value: []: must have at least one stored version"


def test_a_definition_remembers_every_stored_version(created: Any) -> None:
    old = created(CUSTOM_RESOURCE_DEFINITIONS, crd())
    new = copy.deepcopy(old)
    new["spec"]["versions"][0]["storage"] = False
    new["spec"]["versions"].append({**old["spec"]["versions"][0], "name": "v2"})
    CUSTOM_RESOURCE_DEFINITIONS.strategy.prepare(new, old)
    assert new["status"]["storedVersions"] == ["v1", "v2"]


def test_api_services_are_named_by_version_and_group(problems: Any) -> None:
    spec = {"group": "metrics.k8s.io", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10}
    assert problems(API_SERVICES, {"metadata": {"name": "v1.metrics.k8s.io"}, "spec": spec}) == []
    (found,) = problems(API_SERVICES, {"metadata": {"name": "metrics"}, "spec": spec})
    assert found.startswith('metadata.name: Invalid value: "metrics"')
