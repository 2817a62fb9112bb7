"""Services, configuration, namespaces, nodes, RBAC and the other everyday kinds: defaults and what is refused."""

from typing import Any

import pytest

from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.endpoints import ENDPOINTS
from tiphys.kinds.core.event import EVENTS
from tiphys.kinds.core.limitrange import LIMIT_RANGES
from tiphys.kinds.core.namespace import NAMESPACES
from tiphys.kinds.core.node import NODES
from tiphys.kinds.core.secret import SECRETS
from tiphys.kinds.core.service import SERVICES
from tiphys.kinds.discovery.endpointslice import ENDPOINT_SLICES
from tiphys.kinds.rbac.clusterrolebinding import CLUSTER_ROLE_BINDINGS
from tiphys.kinds.rbac.role import ROLES
from tiphys.kinds.rbac.rolebinding import ROLE_BINDINGS
from tiphys.kinds.scheduling.priorityclass import PRIORITY_CLASSES

GROUP = "rbac.authorization.k8s.io"


def service(**spec: Any) -> dict[str, Any]:
    return {"spec": {"ports": [{"port": 80}], **spec}}


def test_a_bare_service_gets_upstreams_defaults(created: Any) -> None:
    new = created(SERVICES, service())
    assert new["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "sessionAffinity": "None", "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
    }  # fmt: skip
    assert new["status"] == {"loadBalancer": {}}


def test_services_of_other_types_get_theirs(created: Any) -> None:
    assert created(SERVICES, service(type="NodePort"))["spec"]["externalTrafficPolicy"] == "Cluster"
    assert created(SERVICES, service(type="LoadBalancer"))["spec"]["allocateLoadBalancerNodePorts"] is True
    affinity = created(SERVICES, service(sessionAffinity="ClientIP"))["spec"]["sessionAffinityConfig"]
    assert affinity == {"clientIP": {"timeoutSeconds": 10800}}
    assert created(SERVICES, service(clusterIP="None"))["spec"]["clusterIPs"] == ["None"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        (
            {"type": "Other"},
            'spec.type: Unsupported value: "Other": supported values: '
            '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
        ),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81}]}, "spec.ports[1].name: Required value"),
        (
            {"ports": [{"port": 0}]},
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            {"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]},
            'spec.ports[1].name: Duplicate value: "a"',
        ),
        ({"type": "ExternalName", "ports": []}, "spec.externalName: Required value"),
        (
            {"type": "NodePort", "clusterIP": "None"},
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        (
            {"ports": [{"port": 80, "nodePort": 30000}]},
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
    ],
)
def test_what_is_wrong_with_a_service_is_named(problems: Any, spec: dict[str, Any], expected: str) -> None:
    assert expected in problems(SERVICES, service(**spec))


def test_a_services_name_is_a_dns_1035_label(problems: Any) -> None:
    (found,) = problems(SERVICES, service() | {"metadata": {"name": "1web"}})
    assert found.startswith('metadata.name: Invalid value: "1web": a DNS-1035 label must consist')


def test_what_the_server_gave_a_service_survives_an_update_that_leaves_it_out(created: Any) -> None:
    old = created(SERVICES, service(type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 80, "nodePort": 30001}]))
    new = created(SERVICES, service(type="NodePort"))
    SERVICES.strategy.prepare(new, old)
    assert new["spec"]["clusterIP"] == "10.96.0.9"
    assert new["spec"]["ports"][0]["nodePort"] == 30001
    plain = created(SERVICES, service(ports=[{"port": 80, "nodePort": 30001}]))
    SERVICES.strategy.prepare(plain, old)
    assert "nodePort" not in plain["spec"]["ports"][0]


def test_a_cluster_ip_may_not_change(update_problems: Any) -> None:
    def change(new: dict[str, Any]) -> None:
        new["spec"] |= {"clusterIP": "10.96.0.2", "clusterIPs": ["10.96.0.2"]}

    found = update_problems(SERVICES, service(clusterIP="10.96.0.1"), change)
    assert found == ['spec.clusterIPs[0]: Invalid value: ["10.96.0.2"]: may not change once set']


def test_config_maps_check_keys_and_may_be_immutable(problems: Any, update_problems: Any) -> None:
    assert problems(CONFIG_MAPS, {"data": {"a.b": "1"}, "binaryData": {"c": "aGk="}}) == []
    (found,) = problems(CONFIG_MAPS, {"data": {"a/b": "1"}})
    assert found.startswith('data[a/b]: Invalid value: "a/b": a valid config key must consist')

    def change(new: dict[str, Any]) -> None:
        new["data"]["a"] = "2"

    assert update_problems(CONFIG_MAPS, {"data": {"a": "1"}}, change) == []
    assert update_problems(CONFIG_MAPS, {"data": {"a": "1"}, "immutable": True}, change) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]


def test_secrets_take_string_data_and_know_their_types(created: Any, problems: Any, update_problems: Any) -> None:
    new = created(SECRETS, {"stringData": {"a": "hi"}})
    assert (new["type"], new["data"], "stringData" in new) == ("Opaque", {"a": "aGk="}, False)
    assert problems(SECRETS, {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}) == [
        "data[tls.key]: Required value"
    ]

    def change(new: dict[str, Any]) -> None:
        new["type"] = "other"

    assert update_problems(SECRETS, {}, change) == ['type: Invalid value: "other": field is immutable']


def test_a_namespace_is_active_and_kept_by_its_finalizer(created: Any) -> None:
    new = created(NAMESPACES, {"metadata": {"name": "x"}})
    assert new["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
    assert (new["spec"], new["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    assert NAMESPACES.own_finalizers is not None
    assert list(NAMESPACES.own_finalizers(new)) == ["kubernetes"]
    new["metadata"]["deletionTimestamp"] = "2023-11-14T22:00:00Z"
    NAMESPACES.strategy.prepare(new, new)
    assert new["status"]["phase"] == "Terminating"


def test_nodes_keep_their_status_and_refuse_odd_taints(created: Any, problems: Any) -> None:
    new = created(NODES, {"status": {"capacity": {"cpu": "2"}}})
    assert new["status"]["allocatable"] == {"cpu": "2"}
    assert problems(NODES, {"spec": {"taints": [{"key": "k", "effect": "Sometimes"}]}}) == [
        'metadata.taints[0].effect: Unsupported value: "Sometimes": supported values: '
        '"NoSchedule", "PreferNoSchedule", "NoExecute"'
    ]


def test_bindings_are_completed_and_their_role_stays(created: Any, problems: Any, update_problems: Any) -> None:
    binding = {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}
    new = created(ROLE_BINDINGS, binding)
    assert new["roleRef"]["apiGroup"] == new["subjects"][0]["apiGroup"] == GROUP
    assert problems(ROLE_BINDINGS, binding) == []
    assert problems(CLUSTER_ROLE_BINDINGS, binding) == [
        'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"'
    ]

    def change(new: dict[str, Any]) -> None:
        new["roleRef"]["name"] = "other"

    (found,) = update_problems(ROLE_BINDINGS, binding, change)
    assert found.endswith("cannot change roleRef")


def test_rbac_names_are_path_segments(problems: Any) -> None:
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]
    assert problems(ROLES, {"metadata": {"name": "system:Reader"}, "rules": rules}) == []
    assert problems(ROLES, {"rules": [{"verbs": ["get"], "apiGroups": [""]}]}) == [
        "rules[0].resources: Required value: resource rules must supply at least one resource"
    ]


def test_endpoints_and_slices(created: Any, problems: Any) -> None:
    subset = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}
    assert created(ENDPOINTS, {"subsets": [subset]})["subsets"][0]["ports"][0]["protocol"] == "TCP"
    found = problems(ENDPOINTS, {"subsets": [{"addresses": [{"ip": "nowhere"}]}]})
    assert found == [
        'subsets[0].addresses[0].ip: Invalid value: "nowhere": '
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        'subsets[0].addresses[0].ip: Invalid value: "nowhere": must be a valid IP address',
    ]
    slice_ = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}
    assert created(ENDPOINT_SLICES, slice_)["ports"] == [{"port": 80, "name": "", "protocol": "TCP"}]
    assert problems(ENDPOINT_SLICES, {"endpoints": []}) == ["addressType: Required value"]


def test_an_event_lives_where_its_object_does(problems: Any) -> None:
    event = {"metadata": {"name": "e", "namespace": "x"}, "involvedObject": {"namespace": "y"}}
    assert problems(EVENTS, event) == ['involvedObject.namespace: Invalid value: "y": does not match event.namespace']


def test_limit_ranges_fill_in_requests_from_limits(created: Any, problems: Any) -> None:
    limits = [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]
    item = created(LIMIT_RANGES, {"spec": {"limits": limits}})["spec"]["limits"][0]
    assert item["default"] == {"cpu": "2"}
    assert item["defaultRequest"] == {"cpu": "2", "memory": "1Mi"}
    limits = [{"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]
    assert problems(LIMIT_RANGES, {"spec": {"limits": limits}}) == [
        'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'
    ]


def test_system_priorities_are_reserved(problems: Any) -> None:
    assert problems(PRIORITY_CLASSES, {"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}) == []
    assert problems(PRIORITY_CLASSES, {"metadata": {"name": "system-x"}, "value": 1}) == [
        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. "
        "error: system-x is not a known system priority class"
    ]
    assert problems(PRIORITY_CLASSES, {"value": 2_000_000_000}) == [
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"
    ]
