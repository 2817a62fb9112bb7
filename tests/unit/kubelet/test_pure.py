"""Environment, fields, names, security, resources, payloads: values in, values out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tiphys.kinds.core.container import Container, ResourceFieldSelector
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.service import Service
from tiphys.kinds.core.volume import Volume
from tiphys.kubelet import environment, network, resources, security
from tiphys.kubelet.fields import BadField, Facts, field_value, resource_value
from tiphys.kubelet.images import credentials
from tiphys.kubelet.network import ClusterDns
from tiphys.kubelet.restart import CrashLoop
from tiphys.kubelet.runtime import Dns, Image
from tiphys.kubelet.volumes import payload

FACTS = Facts("n1", ("192.0.2.1",), ("10.0.0.2", "fd00::2"), {"cpu": "2", "memory": "4Gi"})


def pod(meta: dict[str, Any] | None = None, **spec: Any) -> Pod:
    names = {"name": "web-0", "namespace": "prod", "uid": "u", **(meta or {})}
    return msgspec.convert({"metadata": names, "spec": {"containers": [{"name": "a"}], **spec}}, Pod)


def container(**facts: Any) -> Container:
    return msgspec.convert({"name": "a", **facts}, Container)


def none(kind: str, name: str) -> None:
    return None


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"), ("$$(A)", "$(A)"), ("$(NONE)", "$(NONE)"), ("x$(A)y$(B)", "x1y2"), ("$", "$"),
        ("$(A", "$(A"), ("$$$(A)", "$1"), ("$A", "$A"),
    ],
)  # fmt: skip
def test_references_expand(text: str, expanded: str) -> None:
    assert environment.expand(text, {"A": "1", "B": "2"}) == expanded


def test_variables_see_those_before_them_and_sources_yield_to_them() -> None:
    maps = {"conf": {"K": b"from map", "X": b"map"}}
    one = container(
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "conf"}}],
        env=[
            {"name": "X", "value": "own $(P_K) $(LATER)"}, {"name": "LATER", "value": "l"},
            {"name": "HOST", "value": "$(SVC_SERVICE_HOST)"},
            {"name": "K", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "K"}}},
            {"name": "OPT", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k", "optional": True}}},
        ],
    )  # fmt: skip
    services = {"SVC_SERVICE_HOST": "10.96.0.9"}
    found = environment.build(pod(), one, services, lambda kind, name: maps.get(name), FACTS)
    assert found == {
        "SVC_SERVICE_HOST": "10.96.0.9", "P_K": "from map", "P_X": "map", "X": "own from map $(LATER)",
        "LATER": "l", "HOST": "10.96.0.9", "K": "from map",
    }  # fmt: skip


def test_missing_sources_are_named_as_upstream_names_them() -> None:
    ref = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    with pytest.raises(environment.MissingSource, match='secret "s" not found'):
        environment.build(pod(), container(env=[ref]), {}, none, FACTS)
    with pytest.raises(environment.MissingSource, match="couldn't find key k in Secret prod/s"):
        environment.build(pod(), container(env=[ref]), {}, lambda kind, name: {}, FACTS)


def test_service_links() -> None:
    ports = [{"name": "http", "port": 80}, {"port": 53, "protocol": "UDP"}]
    service = msgspec.convert(
        {"metadata": {"name": "my-svc"}, "spec": {"clusterIP": "10.96.0.9", "ports": ports}}, Service
    )
    headless = msgspec.convert({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": ports}}, Service)
    assert environment.service_variables([service, headless]) == {
        "MY_SVC_SERVICE_HOST": "10.96.0.9", "MY_SVC_SERVICE_PORT": "80", "MY_SVC_SERVICE_PORT_HTTP": "80",
        "MY_SVC_PORT": "tcp://10.96.0.9:80", "MY_SVC_PORT_80_TCP": "tcp://10.96.0.9:80",
        "MY_SVC_PORT_80_TCP_PROTO": "tcp", "MY_SVC_PORT_80_TCP_PORT": "80", "MY_SVC_PORT_80_TCP_ADDR": "10.96.0.9",
        "MY_SVC_PORT_53_UDP": "udp://10.96.0.9:53", "MY_SVC_PORT_53_UDP_PROTO": "udp",
        "MY_SVC_PORT_53_UDP_PORT": "53", "MY_SVC_PORT_53_UDP_ADDR": "10.96.0.9",
    }  # fmt: skip


def test_fields() -> None:
    one = pod({"labels": {"b": "2", "a": 'x"y'}, "annotations": {"n/x": "v"}}, serviceAccountName="sa")
    expected = {
        "metadata.name": "web-0", "spec.nodeName": "n1",
        "status.podIP": "10.0.0.2", "status.podIPs": "10.0.0.2,fd00::2",
        "status.hostIP": "192.0.2.1", "metadata.labels['b']": "2", "metadata.labels['none']": "",
        "metadata.annotations['n/x']": "v", "metadata.labels": 'a="x\\"y"\nb="2"', "spec.serviceAccountName": "sa",
    }  # fmt: skip
    assert {path: field_value(one, path, FACTS) for path in expected} == expected
    with pytest.raises(BadField, match=r"spec\.containers"):
        field_value(one, "spec.containers", FACTS)


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", "1m", "500"), ("limits.cpu", "0", "1"), ("limits.memory", "1Mi", "4096"),
        ("requests.memory", "1", "1000"), ("requests.cpu", "1", "0"),
    ],
)  # fmt: skip
def test_resource_fields(resource: str, divisor: str, value: str) -> None:
    one = container(resources={"limits": {"cpu": "500m"}, "requests": {"memory": "1000"}})
    ref = msgspec.convert({"resource": resource, "divisor": divisor}, ResourceFieldSelector)
    assert resource_value(pod(), ref, one, FACTS) == value


def test_names() -> None:
    assert network.hostname(pod({"name": "a" * 70})) == "a" * 63
    assert network.hostname(pod(hostname="h")) == "h"
    assert network.fqdn(pod(subdomain="db"), "cluster.local") == "web-0.db.prod.svc.cluster.local"
    aliases = [{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]
    text = network.hosts_file(pod(subdomain="db", hostAliases=aliases), ["10.0.0.2"], "cluster.local")
    assert "10.0.0.2\tweb-0.db.prod.svc.cluster.local\tweb-0\n" in text
    assert "1.2.3.4\tx\ty\n" in text


def test_dns() -> None:
    host = Dns(("192.0.2.53",), ("corp.example",), ("timeout:1",))
    cluster = ClusterDns("cluster.local", ("10.96.0.10",), host)
    searches = ("prod.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example")
    assert network.dns(pod(), cluster) == Dns(("10.96.0.10",), searches, ("ndots:5",))
    assert network.dns(pod(hostNetwork=True), cluster) == host
    assert network.dns(pod(dnsPolicy="Default"), cluster) == host
    options = [{"name": "ndots", "value": "2"}, {"name": "x"}]
    config = {"nameservers": ["1.1.1.1"], "searches": ["s"], "options": options}
    assert network.dns(pod(dnsPolicy="None", dnsConfig=config), cluster) == Dns(("1.1.1.1",), ("s",), ("ndots:2", "x"))
    assert network.parse_resolv_conf("nameserver 192.0.2.53\nsearch corp.example\noptions timeout:1\n") == host


def test_security_of_the_container_goes_before_the_pods() -> None:
    one = pod(securityContext={"runAsUser": 1, "fsGroup": 5, "supplementalGroups": [4]})
    found = security.effective(one, container(securityContext={"runAsUser": 2, "runAsGroup": 3}), Image("i"))
    assert (found.run_as_user, found.run_as_group, found.supplemental_groups) == (2, 3, (4, 5))
    assert security.effective(pod(), container(), Image("i", user="app")).run_as_username == "app"
    caps = {"capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]}, "allowPrivilegeEscalation": False}
    found = security.effective(pod(), container(securityContext=caps), Image("i"))
    assert (found.add_capabilities, found.drop_capabilities, found.no_new_privs) == (("NET_ADMIN",), ("ALL",), True)


@pytest.mark.parametrize(
    ("context", "user", "message"),
    [({}, "", "image will run as root"), ({}, "app", "non-numeric user"), ({"runAsUser": 0}, "", "breaks non-root")],
)
def test_non_root_is_enforced(context: dict[str, Any], user: str, message: str) -> None:
    one = container(securityContext={"runAsNonRoot": True, **context})
    with pytest.raises(security.NotAllowed, match=message):
        security.effective(pod(), one, Image("i", user=user))
    allowed = container(securityContext={"runAsNonRoot": True, "runAsUser": 7})
    assert security.effective(pod(), allowed, Image("i")).run_as_user == 7


def test_qos_and_limits() -> None:
    both = {"cpu": "1", "memory": "1Gi"}
    guaranteed = pod(containers=[{"name": "a", "resources": {"limits": both}}])
    burstable = pod(containers=[{"name": "a", "resources": {"requests": {"memory": "1Gi"}}}, {"name": "b"}])
    assert [resources.qos_class(p) for p in (guaranteed, burstable, pod())] == ["Guaranteed", "Burstable", "BestEffort"]
    assert resources.pod_limits(guaranteed).memory == 1 << 30
    assert resources.pod_limits(guaranteed).cpu_quota == 100_000
    assert resources.pod_limits(burstable).memory == 0
    memory = 4 << 30
    scores = [resources.oom_score_adj(p, p.spec.containers[0], memory) for p in (guaranteed, burstable, pod())]
    assert scores == [-997, 750, 1000]


def test_an_init_container_may_need_more_than_the_rest() -> None:
    big = {"name": "i", "resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "3"}}}
    side = {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}
    main = {"name": "a", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}}
    assert resources.pod_limits(pod(initContainers=[big], containers=[main])).cpu_quota == 300_000
    assert resources.pod_limits(pod(initContainers=[side, big], containers=[main])).cpu_quota == 400_000


def test_payloads() -> None:
    one = pod(
        {"labels": {"a": "b"}}, volumes=[],
        containers=[{"name": "a", "resources": {"limits": {"cpu": "1"}}, "securityContext": {"runAsUser": 9}}],
    )  # fmt: skip
    source = {
        "name": "v",
        "projected": {"defaultMode": 0o640, "sources": [
            {"configMap": {"name": "c", "items": [{"key": "k", "path": "sub/k", "mode": 0o400}]}},
            {"secret": {"name": "none", "optional": True}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"serviceAccountToken": {"path": "token"}},
        ]},
    }  # fmt: skip
    volume = msgspec.convert(source, Volume)
    data = {"c": {"k": b"v", "other": b"o"}}
    found = payload.build(one, volume, lambda kind, name: data.get(name), FACTS, lambda projection: "T")
    assert found == {
        "sub/k": payload.File(b"v", 0o400), "labels": payload.File(b'a="b"', 0o640),
        "token": payload.File(b"T", 0o600, 9),
    }  # fmt: skip
    missing = msgspec.convert({"name": "v", "secret": {"secretName": "s"}}, Volume)
    with pytest.raises(payload.MissingObject, match='secret "s" not found'):
        payload.build(one, missing, none, FACTS, lambda projection: "T")


def test_pull_secrets_are_matched_by_registry() -> None:
    config = b'{"auths":{"quay.io":{"auth":"dTpw"},"https://index.docker.io/v1/":{"username":"h","password":"x"}}}'
    one = pod(imagePullSecrets=[{"name": "s"}])

    def lookup(kind: str, name: str) -> dict[str, bytes]:
        return {".dockerconfigjson": config}

    assert [(c.username, c.password) for c in credentials(one, "quay.io/a/b:1", lookup)] == [("u", "p")]
    assert [c.username for c in credentials(one, "busybox", lookup)] == ["h"]
    assert credentials(one, "other.io/a", lookup) == []


def test_crash_loop_delays() -> None:
    crashes = CrashLoop()
    delays = []
    for n in range(7):
        crashes.restarted("a", float(n))
        delays.append(crashes.delay("a"))
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert crashes.until("a", 10.0) == 310.0
    assert crashes.until("a", 10_000.0) == 0.0
