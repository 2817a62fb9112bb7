"""Storage, roles, leases, API services and flow control that are wrong, and what upstream says of each."""

from typing import Any

import pytest

from tiphys.kinds.apiregistration.apiservice import API_SERVICES
from tiphys.kinds.coordination.lease import LEASES
from tiphys.kinds.coordination.leasecandidate import LEASE_CANDIDATES
from tiphys.kinds.flowcontrol.flowschema import FLOW_SCHEMAS
from tiphys.kinds.flowcontrol.mandatory import FLOW_SCHEMAS as FIXED_SCHEMAS
from tiphys.kinds.flowcontrol.prioritylevelconfiguration import PRIORITY_LEVEL_CONFIGURATIONS
from tiphys.kinds.node.runtimeclass import RUNTIME_CLASSES
from tiphys.kinds.rbac.clusterrole import CLUSTER_ROLES
from tiphys.kinds.rbac.clusterrolebinding import CLUSTER_ROLE_BINDINGS
from tiphys.kinds.rbac.role import ROLES
from tiphys.kinds.rbac.rolebinding import ROLE_BINDINGS
from tiphys.kinds.scheduling.priorityclass import PRIORITY_CLASSES
from tiphys.kinds.storage.csidriver import CSI_DRIVERS
from tiphys.kinds.storage.csinode import CSI_NODES
from tiphys.kinds.storage.csistoragecapacity import CSI_STORAGE_CAPACITIES
from tiphys.kinds.storage.storageclass import STORAGE_CLASSES
from tiphys.kinds.storage.volumeattachment import VOLUME_ATTACHMENTS
from tiphys.kinds.storage.volumeattributesclass import VOLUME_ATTRIBUTES_CLASSES

Json = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
ROLE_REF = {"kind": "ClusterRole", "name": "view", "apiGroup": GROUP}
RULE = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
ATTACHMENT = {"attacher": "x.io", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
CANDIDATE = {
    "leaseName": "l", "binaryVersion": "1.36.0", "emulationVersion": "1.36.0", "strategy": "OldestEmulationVersion",
}  # fmt: skip
FLOW = {"priorityLevelConfiguration": {"name": "global-default"}}
LABEL = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def topology(*terms: list[Json]) -> Json:
    return {"provisioner": "a", "allowedTopologies": [{"matchLabelExpressions": list(term)} for term in terms]}


def subject(**fields: Any) -> Json:
    return {"roleRef": ROLE_REF, "subjects": [fields]}


def rule(**fields: Any) -> Json:
    user = {"kind": "User", "user": {"name": "u"}}
    return {"spec": {**FLOW, "rules": [{"subjects": [user], **fields}]}}


def resource_rule(**fields: Any) -> Json:
    whole = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}
    return rule(resourceRules=[{**whole, **fields}])


def limited(**fields: Any) -> Json:
    return {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}, **fields}}}


def queuing(**fields: Any) -> Json:
    return limited(limitResponse={"type": "Queue", "queuing": fields})


def api_service(**spec: Any) -> Json:
    whole = {"group": "x.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1, **spec}
    return {"metadata": {"name": f"{whole['version']}.{whole['group']}"}, "spec": whole}


CASES: list[tuple[Any, Json, list[str]]] = [
    (STORAGE_CLASSES, {}, ["provisioner: Required value"]),
    (STORAGE_CLASSES, {"provisioner": "a b"}, [f'provisioner: Invalid value: "a b": {LABEL}']),
    (STORAGE_CLASSES, {"provisioner": "a", "reclaimPolicy": "Recycle"}, [
        'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"']),
    (STORAGE_CLASSES, {"provisioner": "a", "parameters": {"": "x"}}, [
        'parameters: Invalid value: "": field can not be empty.']),
    (STORAGE_CLASSES, {"provisioner": "a", "parameters": {str(i): "" for i in range(513)}}, [
        "parameters: Too long: may not be more than 512 bytes"]),
    (STORAGE_CLASSES, topology([{"key": "z", "values": ["a", "a"]}, {"key": "z"}]), [
        'allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"',
        "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
        'allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "z"']),
    (STORAGE_CLASSES, topology([{"key": "z", "values": ["a"]}], [{"key": "z", "values": ["a"]}]), [
        'allowedTopologies[1].matchLabelExpressions: Duplicate value: ""']),
    (VOLUME_ATTRIBUTES_CLASSES, {"driverName": "x.io"}, [
        "parameters: Required value: must contain at least one key/value pair"]),
    (VOLUME_ATTACHMENTS, {"spec": {**ATTACHMENT, "source": {}}}, [
        "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"]),
    (VOLUME_ATTACHMENTS, {"spec": {**ATTACHMENT, "source": {"inlineVolumeSpec": {"capacity": {"storage": "1"}}}}}, [
        "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
        "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes"]),
    (CSI_DRIVERS, {"spec": {"volumeLifecycleModes": ["x"], "fsGroupPolicy": "y"}}, [
        'spec.fsGroupPolicy: Unsupported value: "y": supported values: "File", "None", "ReadWriteOnceWithFSType"',
        'spec.volumeLifecycleModes: Unsupported value: "x": supported values: "Persistent", "Ephemeral"']),
    (CSI_DRIVERS, {"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}]}}, [
        "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
        'spec.tokenRequests[1].audience: Duplicate value: "a"']),
    (CSI_DRIVERS, {"spec": {"nodeAllocatableUpdatePeriodSeconds": 9}}, [
        "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds"]),
    (CSI_DRIVERS, {"spec": {"serviceAccountTokenInSecrets": True}}, [
        "spec.serviceAccountTokenInSecrets: Invalid value: true: "
        "serviceAccountTokenInSecrets is set but no tokenRequests are specified"]),
    (CSI_NODES, {"spec": {"drivers": [{"name": "x.io", "nodeID": ""}, {"name": "x.io", "nodeID": "n" * 257}]}}, [
        "spec.drivers[0].nodeID: Required value",
        f'spec.drivers[1].nodeID: Invalid value: "{"n" * 257}": must be 256 characters or less',
        'spec.drivers[1].name: Duplicate value: "x.io"']),
    (CSI_NODES, {"spec": {"drivers": [{
        "name": "x.io", "nodeID": "n", "topologyKeys": ["a", "a"], "allocatable": {"count": -1}}]}}, [
        "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
        'spec.drivers[0]: Duplicate value: "a"']),
    (CSI_STORAGE_CAPACITIES, {"storageClassName": "a", "capacity": "-1"}, [
        'capacity: Invalid value: "-1": must be greater than or equal to 0']),

    (ROLES, {"rules": [{}]}, [
        "rules[0].verbs: Required value: verbs must contain at least one value",
        "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
        "rules[0].resources: Required value: resource rules must supply at least one resource"]),
    (ROLES, {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/"], "resources": ["pods"]}]}, [
        'rules[0].nonResourceURLs: Invalid value: ["/"]: namespaced rules cannot apply to non-resource URLs',
        'rules[0].nonResourceURLs: Invalid value: ["/"]: '
        "rules cannot apply to both regular resources and non-resource URLs"]),
    (CLUSTER_ROLES, {"aggregationRule": {}}, [
        "aggregationRule.clusterRoleSelectors: Required value: "
        "at least one clusterRoleSelector required if aggregationRule is non-nil"]),
    (CLUSTER_ROLE_BINDINGS, {"roleRef": {"kind": "Role", "name": "a/b"}}, [
        'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
        "roleRef.name: Invalid value: \"a/b\": may not contain '/'"]),
    (ROLE_BINDINGS, subject(kind="x", name="a"), [
        'subjects[0].kind: Unsupported value: "x": supported values: "ServiceAccount", "User", "Group"']),
    (ROLE_BINDINGS, subject(kind="User", apiGroup="x"), [
        "subjects[0].name: Required value",
        'subjects[0].name: Invalid value: "": user name cannot be empty',
        f'subjects[0].apiGroup: Unsupported value: "x": supported values: "{GROUP}"']),
    (CLUSTER_ROLE_BINDINGS, subject(kind="ServiceAccount", name="a", apiGroup="x"), [
        'subjects[0].apiGroup: Unsupported value: "x": supported values: ""',
        "subjects[0].namespace: Required value"]),
    (ROLE_BINDINGS, subject(kind="User", name="u", namespace="n"), []),

    (PRIORITY_CLASSES, {"value": 2_000_000_000}, [
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]),
    (PRIORITY_CLASSES, {"metadata": {"name": "system-node-critical"}, "value": 1}, [
        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. "
        "error: value of system-node-critical PriorityClass must be 2000001000"]),
    (LEASES, {"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}, [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"]),
    (LEASES, {"spec": {"strategy": "x", "preferredHolder": "a"}}, [
        'spec.strategy.strategy: Unsupported value: "x": supported values: "OldestEmulationVersion"']),
    (LEASES, {"spec": {"preferredHolder": "a"}}, [
        "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"]),
    (LEASE_CANDIDATES, {"spec": {}}, [
        "spec.leaseName: Required value", "spec.binaryVersion: Required value", "spec.strategy: Required value"]),
    (LEASE_CANDIDATES, {"spec": {**CANDIDATE, "binaryVersion": "1.36.0-rc.1"}}, [
        'spec.binaryVersion: Invalid value: "1.36.0-rc.1": must be greater than or equal to `emulationVersion`']),
    (LEASE_CANDIDATES, {"spec": {**CANDIDATE, "emulationVersion": "1.36"}}, [
        'spec.emulationVersion: Invalid value: "1.36": must be a valid semantic version',
        "spec.emulationVersion: Required value: must be specified when `strategy` is 'OldestEmulationVersion'"]),
    (RUNTIME_CLASSES, {"handler": "h", "overhead": {"podFixed": {"cpu": "-1"}}}, [
        'overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0']),
    (RUNTIME_CLASSES, {"handler": "h", "scheduling": {"tolerations": [{"operator": "Exists", "value": "x"}]}}, [
        "scheduling.tolerations[0].operator: Invalid value: \"x\": "
        "value must be empty when `operator` is 'Exists'"]),

    (API_SERVICES, {**api_service(), "metadata": {"name": "a"}}, [
        'metadata.name: Invalid value: "a": must be `spec.version+"."+spec.group`: "v1.x.io"']),
    (API_SERVICES, api_service(caBundle="AAAA", insecureSkipTLSVerify=True), [
        'spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle',
        "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify"]),
    (API_SERVICES, api_service(service={"port": 70000}, groupPriorityMinimum=20001), [
        "spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
        "spec.service.namespace: Required value", "spec.service.name: Required value",
        "spec.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive"]),

    (FLOW_SCHEMAS, {"spec": {"matchingPrecedence": 1}}, [
        "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
        "spec.priorityLevelConfiguration.name: Required value: must reference a priority level"]),
    (FLOW_SCHEMAS, {"spec": {**FLOW, "distinguisherMethod": {"type": "x"}}}, [
        'spec.distinguisherMethod.type: Unsupported value: {"Type":"x"}: supported values: "ByNamespace", "ByUser"']),
    (FLOW_SCHEMAS, {"spec": {**FLOW, "rules": [{"subjects": [{"kind": "Group", "user": {"name": "u"}}]}]}}, [
        "spec.rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group'",
        "spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'",
        "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"]),
    (FLOW_SCHEMAS, resource_rule(verbs=["*", "get"], apiGroups=[], namespaces=["A"]), [
        "spec.rules[0].resourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: "
        "if '*' is present, must not specify other verbs",
        "spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group",
        "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"A\": "
        "each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower "
        "case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  "
        "or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"]),
    (FLOW_SCHEMAS, rule(nonResourceRules=[{"verbs": ["x"], "nonResourceURLs": ["a", "/a b", "//", "/a*"]}]), [
        'spec.rules[0].nonResourceRules[0].verbs: Unsupported value: ["x"]: supported values: "create", "delete", '
        '"deletecollection", "get", "list", "patch", "proxy", "update", "watch"',
        'spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "a": must start with slash',
        'spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a b": must not contain white-space',
        'spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "//": must not contain double slash',
        'spec.rules[0].nonResourceRules[0].nonResourceURLs[3]: Invalid value: "/a*": '
        "wildcard can only do suffix matching"]),
    (FLOW_SCHEMAS, {"metadata": {"name": "exempt"}, "spec": FIXED_SCHEMAS["exempt"]}, []),
    (FLOW_SCHEMAS, {"metadata": {"name": "catch-all"}, "spec": FLOW}, [
        'spec: Invalid value: {"priorityLevelConfiguration":{"name":"global-default"},"matchingPrecedence":1000}: '
        "spec of 'catch-all' must equal the fixed value"]),
    (PRIORITY_LEVEL_CONFIGURATIONS, {
        "metadata": {"name": "catch-all"}, **limited(nominalConcurrencyShares=5)}, []),
    (PRIORITY_LEVEL_CONFIGURATIONS, {"spec": {"type": "Exempt"}}, [
        "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"]),
    (PRIORITY_LEVEL_CONFIGURATIONS, {"spec": {"type": "Limited"}}, [
        "spec.limited: Required value: must not be empty when type is Limited"]),
    (PRIORITY_LEVEL_CONFIGURATIONS, limited(lendablePercent=101, borrowingLimitPercent=-1, limitResponse={}), [
        "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
        "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
        'spec.limited.limitResponse.type: Unsupported value: "": supported values: "Queue", "Reject"']),
    (PRIORITY_LEVEL_CONFIGURATIONS, queuing(queues=2, handSize=3, queueLengthLimit=-1), [
        "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)"]),
    (PRIORITY_LEVEL_CONFIGURATIONS, queuing(queues=512, handSize=8), [
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: "
        "required entropy bits of deckSize 512 and handSize 8 should not be greater than 60"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "obj", "expected"), CASES)
def test_what_creations_are_refused_for(problems: Any, kind: Any, obj: Json, expected: list[str]) -> None:
    assert problems(kind, obj) == expected


UPDATES: list[tuple[Any, Json, Json, list[str]]] = [
    (STORAGE_CLASSES, {"provisioner": "a"}, {
        "provisioner": "b", "parameters": {"a": "b"}, "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer"}, [
        "parameters: Forbidden: updates to parameters are forbidden.",
        "provisioner: Forbidden: updates to provisioner are forbidden.",
        "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
        'volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable']),
    (VOLUME_ATTRIBUTES_CLASSES, {"driverName": "a", "parameters": {"a": "b"}}, {"driverName": "b"}, [
        "driverName: Forbidden: updates to driverName are forbidden."]),
    (VOLUME_ATTACHMENTS, {"spec": ATTACHMENT}, {"status": {"attachError": {"errorCode": -1}}}, [
        "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"]),
    (CSI_DRIVERS, {"spec": {"volumeLifecycleModes": ["Persistent"]}}, {"spec": {"attachRequired": False}}, [
        "spec.attachedRequired: Invalid value: false: field is immutable"]),
    (CSI_NODES, {"spec": {"drivers": [{"name": "x.io", "nodeID": "a", "allocatable": {"count": 1}}]}},
     {"spec": {"drivers": [{"name": "x.io", "nodeID": "a", "allocatable": {"count": 2}}]}}, []),
    (CSI_NODES, {"spec": {"drivers": [{"name": "x.io", "nodeID": "a"}]}},
     {"spec": {"drivers": [{"name": "x.io", "nodeID": "b"}]}}, [
        'spec.drivers: Invalid value: {"name":"x.io","nodeID":"b"}: field is immutable']),
    (ROLE_BINDINGS, {"roleRef": ROLE_REF}, {"roleRef": {**ROLE_REF, "name": "edit"}}, [
        f'roleRef: Invalid value: {{"kind":"ClusterRole","name":"edit","apiGroup":"{GROUP}"}}: cannot change roleRef']),
    (PRIORITY_CLASSES, {"value": 1}, {"value": 2, "preemptionPolicy": "Never"}, [
        "value: Forbidden: may not be changed in an update.",
        'preemptionPolicy: Invalid value: "Never": field is immutable']),
    (RUNTIME_CLASSES, {"handler": "a"}, {"handler": "b"}, ['handler: Invalid value: "b": field is immutable']),
    (LEASE_CANDIDATES, {"spec": CANDIDATE}, {"spec": {**CANDIDATE, "leaseName": "m"}}, [
        'spec.leaseName: Invalid value: "m": field is immutable']),
    (API_SERVICES, api_service(), {"status": {"conditions": [{"type": "a", "status": "x"}]}}, [
        'status.conditions[0].status: Unsupported value: "x": supported values: "True", "False", "Unknown"']),
    (FLOW_SCHEMAS, resource_rule(), {"status": {"conditions": [{"type": "a"}, {"type": "a"}, {}]}}, [
        'status.conditions[1].type: Duplicate value: "a"',
        "status.conditions[2].type: Required value: must not be empty"]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "old", "changes", "expected"), UPDATES)
def test_what_updates_are_refused_for(
    update_problems: Any, kind: Any, old: Json, changes: Json, expected: list[str]
) -> None:
    assert update_problems(kind, old, lambda new: new.update(changes)) == expected


def test_labels_of_nodes_that_have_a_new_name(created: Any) -> None:
    label = "beta.kubernetes.io/os"
    text = 'deprecated since v1.14; use "kubernetes.io/os" instead'
    kept = created(STORAGE_CLASSES, topology([{"key": label, "values": ["linux"]}]))
    assert list(STORAGE_CLASSES.strategy.warnings(kept, None)) == [
        f"allowedTopologies[0].matchLabelExpressions[0].key: {text}"
    ]
    runtime = created(RUNTIME_CLASSES, {"handler": "h", "scheduling": {"nodeSelector": {label: "linux"}}})
    assert list(RUNTIME_CLASSES.strategy.warnings(runtime, None)) == [f"scheduling.nodeSelector[{label}]: {text}"]
