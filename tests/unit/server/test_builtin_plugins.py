"""The small admission plugins: defaults, runtime classes, finalizers, certificates, rates."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.server.conftest import ADMIN, Api, serving
from tiphys.api.http import User
from tiphys.server.admission.plugins.event_rate_limit import EventLimit
from tiphys.server.admission.plugins.order import Selected

PODS = "/api/v1/namespaces/default/pods"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def pod(**spec: Any) -> Any:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "busybox:1"}]} | spec}


def claim(**spec: Any) -> Any:
    size = {"resources": {"requests": {"storage": "1Gi"}}}
    return {"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"]} | size | spec}


async def account(api: Api) -> None:
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})


async def test_a_runtime_class_brings_overhead_and_nodes(api: Api) -> None:
    await account(api)
    scheduling = {"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata", "operator": "Exists"}]}
    body = {
        "metadata": {"name": "kata"}, "handler": "kata", "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": scheduling,
    }  # fmt: skip
    await api.ok("POST", "/apis/node.k8s.io/v1/runtimeclasses", body)
    made = await api.ok("POST", PODS, pod(runtimeClassName="kata"), dryRun="All")
    assert made["spec"]["overhead"] == {"cpu": "250m"}
    assert made["spec"]["nodeSelector"] == {"kata": "yes"}
    assert scheduling["tolerations"][0] in made["spec"]["tolerations"]
    for spec, why in (
        ({"runtimeClassName": "none"}, 'pod rejected: RuntimeClass "none" not found'),
        ({"overhead": {"cpu": "1"}}, "pod rejected: Pod Overhead set without corresponding RuntimeClass"),
        ({"runtimeClassName": "kata", "overhead": {"cpu": "1"}}, "doesn't match RuntimeClass's defined Overhead"),
        ({"runtimeClassName": "kata", "nodeSelector": {"kata": "no"}}, "conflict: runtimeClass.scheduling"),
    ):
        code, answer = await api("POST", PODS, pod(**spec))
        assert code == 403
        assert why in answer["message"]


async def test_a_claim_gets_the_default_class_and_its_protection(api: Api) -> None:
    body = {
        "metadata": {"name": "std", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "x",
    }  # fmt: skip
    # Of several default classes the newest counts, and a cluster has one from the beginning.
    await api.clock.advance(1)
    await api.ok("POST", "/apis/storage.k8s.io/v1/storageclasses", body)
    made = await api.ok("POST", CLAIMS, claim())
    assert made["spec"]["storageClassName"] == "std"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]


async def test_an_ingress_gets_the_default_class(api: Api) -> None:
    meta = {"name": "web", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
    body = {"metadata": meta, "spec": {"controller": "example.com/web"}}
    await api.ok("POST", "/apis/networking.k8s.io/v1/ingressclasses", body)
    spec = {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
    made = await api.ok(
        "POST", "/apis/networking.k8s.io/v1/namespaces/default/ingresses", {"metadata": {"name": "i"}, "spec": spec}
    )
    assert made["spec"]["ingressClassName"] == "web"


async def test_a_new_node_takes_no_pods_yet(api: Api) -> None:
    made = await api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    assert made["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]


def request(organization: str = "dev") -> str:
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, "ann")]
    attributes.append(x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


async def test_a_certificate_request_says_who_asks_and_needs_an_approver_of_its_signer(api: Api) -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    spec = {"request": request(), "signerName": signer, "usages": ["client auth"], "username": "somebody-else"}
    made = await api.ok("POST", CSRS, {"metadata": {"name": "r"}, "spec": spec})
    assert (made["spec"]["username"], made["spec"]["groups"]) == (ADMIN.name, list(ADMIN.groups))
    resources = ["certificatesigningrequests/approval"]
    rule = {"apiGroups": ["certificates.k8s.io"], "resources": resources, "verbs": ["update"]}
    role = {"metadata": {"name": "half"}, "rules": [rule]}
    await api.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    reference = group | {"kind": "ClusterRole", "name": "half"}
    subjects = [group | {"kind": "User", "name": "bob"}]
    binding = {"metadata": {"name": "half"}, "subjects": subjects, "roleRef": reference}
    await api.ok("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    condition = {"type": "Approved", "status": "True", "reason": "x", "message": "y"}
    made["status"] = {"conditions": [condition]}
    bob = User("bob", groups=("system:authenticated",))
    code, answer = await api("PUT", f"{CSRS}/r/approval", made, user=bob)
    assert code == 403
    assert f'user not permitted to approve requests with signerName "{signer}"' in answer["message"]
    await api.ok("PUT", f"{CSRS}/r/approval", made)
    spec["request"] = request("system:masters")
    code, answer = await api("POST", CSRS, {"metadata": {"name": "s"}, "spec": spec})
    assert code == 403
    assert "system:masters group is not allowed" in answer["message"]


async def test_events_can_be_limited() -> None:
    limit = EventLimit("Namespace", qps=1, burst=2)
    async with serving(admission=Selected(enable=["EventRateLimit"], event_limits=[limit])) as api:
        path = "/api/v1/namespaces/default/events"
        codes = []
        for number in range(3):
            about = {"kind": "Pod", "name": "p", "namespace": "default"}
            codes.append((await api("POST", path, {"metadata": {"name": f"e{number}"}, "involvedObject": about}))[0])
        assert codes == [201, 201, 429]


async def test_images_can_be_pulled_always() -> None:
    async with serving(admission=Selected(enable=["AlwaysPullImages"])) as api:
        await account(api)
        made = await api.ok("POST", PODS, pod())
        assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"


@pytest.mark.parametrize("phase", ["Pending", "Bound"])
async def test_only_a_bound_claim_of_a_class_that_allows_it_grows(api: Api, phase: str) -> None:
    for name, allowed in (("fix", False), ("grow", True)):
        body = {"metadata": {"name": name}, "provisioner": "x", "allowVolumeExpansion": allowed}
        await api.ok("POST", "/apis/storage.k8s.io/v1/storageclasses", body)
    for name, wanted in (("fix", False), ("grow", phase == "Bound")):
        made = await api.ok("POST", CLAIMS, claim(storageClassName=name, volumeName="v") | {"metadata": {"name": name}})
        made["status"] = {"phase": phase}
        made = await api.ok("PUT", f"{CLAIMS}/{name}/status", made)
        made["spec"]["resources"]["requests"]["storage"] = "2Gi"
        code, _ = await api("PUT", f"{CLAIMS}/{name}", made)
        assert (code == 200) == wanted


async def test_a_bound_pod_learns_its_zone(api: Api) -> None:
    await account(api)
    zone = {"topology.kubernetes.io/zone": "a"}
    await api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "n", "labels": zone | {"other": "x"}}})
    await api.ok("POST", PODS, pod())
    await api.ok("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    assert (await api.ok("GET", f"{PODS}/p"))["metadata"]["labels"] == zone


async def test_external_addresses_can_be_denied_and_extended_resources_tolerated() -> None:
    names = ["DenyServiceExternalIPs", "ExtendedResourceToleration"]
    async with serving(admission=Selected(enable=names)) as api:
        await account(api)
        spec = {"ports": [{"port": 80}], "externalIPs": ["192.0.2.1"]}
        service = {"metadata": {"name": "s"}, "spec": spec}
        code, answer = await api("POST", "/api/v1/namespaces/default/services", service)
        assert (code, "Use of external IPs is denied" in answer["message"]) == (403, True)
        amounts = {"example.com/gpu": "1"}
        container = {"name": "c", "image": "i", "resources": {"requests": amounts, "limits": amounts}}
        made = await api.ok("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
        assert {"key": "example.com/gpu", "operator": "Exists"} in made["spec"]["tolerations"]


async def test_access_to_devices_of_others_wants_a_marked_namespace(api: Api) -> None:
    root = "/apis/resource.k8s.io/v1/namespaces/default"
    spec = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu", "adminAccess": True}}]}}
    bodies = {
        "resourceclaims": {"metadata": {"name": "c"}, "spec": spec},
        "resourceclaimtemplates": {"metadata": {"name": "t"}, "spec": {"spec": spec}},
    }  # fmt: skip
    for plural, body in bodies.items():
        code, answer = await api("POST", f"{root}/{plural}", body)
        assert code == 422
        rule = "admin access to devices requires the `resource.kubernetes.io/admin-access: true` label"
        assert f"devices.requests[0].adminAccess: Forbidden: {rule}" in answer["message"]
    marked = {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}
    await api.ok("PATCH", "/api/v1/namespaces/default", marked, content_type="application/merge-patch+json")
    for plural, body in bodies.items():
        await api.ok("POST", f"{root}/{plural}", body)
