"""What every namespace has, and how it goes."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from tiphys.api.errors import NotFound
from tiphys.api.resource import resource
from tiphys.controllers.authority import Authority
from tiphys.controllers.namespace import NamespaceController
from tiphys.controllers.replicaset import ReplicaSetController
from tiphys.controllers.root_ca import RootCaPublisher
from tiphys.controllers.serviceaccount import ServiceAccountController
from tiphys.controllers.tokens import TokenController
from tiphys.kinds.apiextensions.customresourcedefinition import CUSTOM_RESOURCE_DEFINITIONS
from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.namespace import NAMESPACES
from tiphys.kinds.core.pod import PODS
from tiphys.kinds.core.secret import SECRETS
from tiphys.kinds.core.serviceaccount import SERVICE_ACCOUNTS

BUNDLE = "-----BEGIN CERTIFICATE-----"
WIDGETS = resource(group="example.com", version="v1", kind="Widget", plural="widgets")


async def there(cluster: Any, kind: Any, name: str, namespace: str) -> dict[str, Any]:
    async def check() -> Any:
        return await cluster.get(kind, name, namespace)

    found: dict[str, Any] = await cluster.until(check, f"{kind.plural} {namespace}/{name}")
    return found


async def test_account_and_ca_in_every_namespace(cluster: Any) -> None:
    cluster.start(ServiceAccountController)
    cluster.start(RootCaPublisher, Authority(BUNDLE))
    await cluster.create(NAMESPACES, {"metadata": {"name": "shop"}})
    first = await there(cluster, SERVICE_ACCOUNTS, "default", "shop")
    assert (await there(cluster, CONFIG_MAPS, "kube-root-ca.crt", "shop"))["data"] == {"ca.crt": BUNDLE}
    await cluster.delete(SERVICE_ACCOUNTS, "default", "shop")
    again = await there(cluster, SERVICE_ACCOUNTS, "default", "shop")
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    await cluster.patch(CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "forged", "more": "x"}}, "shop")

    async def restored() -> Any:
        return (await cluster.get(CONFIG_MAPS, "kube-root-ca.crt", "shop"))["data"] == {"ca.crt": BUNDLE}

    await cluster.until(restored)


async def test_token_secret_is_filled_and_goes_with_its_account(cluster: Any) -> None:
    cluster.start(TokenController, Authority(BUNDLE))
    await cluster.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}})
    annotations = {"kubernetes.io/service-account.name": "robot"}
    secret = {"metadata": {"name": "robot", "annotations": annotations}, "type": "kubernetes.io/service-account-token"}
    await cluster.create(SECRETS, secret)

    async def filled() -> Any:
        found = await cluster.get(SECRETS, "robot")
        return found.get("data", {}).get("token") and found

    found = await cluster.until(filled)
    assert b64decode(found["data"]["namespace"]) == b"default"
    assert b64decode(found["data"]["ca.crt"]).decode() == BUNDLE
    assert b64decode(found["data"]["token"]).count(b".") == 2
    await cluster.delete(SERVICE_ACCOUNTS, "robot")
    await cluster.gone(SECRETS, "robot")


async def test_namespace_takes_everything_along(cluster: Any) -> None:
    cluster.start(NamespaceController)
    names = {"plural": "widgets", "kind": "Widget", "singular": "widget", "listKind": "WidgetList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    spec = {
        "group": "example.com", "scope": "Namespaced", "names": names,
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }  # fmt: skip
    await cluster.create(CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {"name": "widgets.example.com"}, "spec": spec})
    await cluster.create(NAMESPACES, {"metadata": {"name": "shop"}})

    async def widget() -> Any:
        try:
            return await cluster.create(WIDGETS, {"metadata": {"name": "w", "namespace": "shop"}})
        except NotFound:
            return None

    await cluster.until(widget)
    await cluster.create(CONFIG_MAPS, {"metadata": {"name": "c", "namespace": "shop"}})
    await cluster.delete(NAMESPACES, "shop")
    await cluster.gone(NAMESPACES, "shop")
    assert await cluster.get(WIDGETS, "w", "shop") is None
    assert await cluster.get(CONFIG_MAPS, "c", "shop") is None


async def test_namespace_waits_for_pods_and_says_so(cluster: Any) -> None:
    cluster.start(NamespaceController)
    cluster.start(ReplicaSetController)
    await cluster.create(NAMESPACES, {"metadata": {"name": "shop"}})
    await cluster.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "shop"}})
    await cluster.add_node("n1")
    spec = {"containers": [{"name": "c", "image": "i"}]}
    held = {"name": "p", "namespace": "shop", "finalizers": ["example.com/hold"]}
    await cluster.create(PODS, {"metadata": held, "spec": spec})
    await cluster.bind("p", "n1", "shop")
    await cluster.delete(NAMESPACES, "shop")

    async def waits() -> Any:
        found = await cluster.get(NAMESPACES, "shop")
        return {c["type"]: c for c in found["status"].get("conditions", ())}

    conditions = await cluster.until(waits)
    assert conditions["NamespaceContentRemaining"]["status"] == "True"
    assert "pods. has 1 resource instances" in conditions["NamespaceContentRemaining"]["message"]
    assert "example.com/hold in 1 resource instances" in conditions["NamespaceFinalizersRemaining"]["message"]
    assert (await cluster.get(NAMESPACES, "shop"))["status"]["phase"] == "Terminating"
    await cluster.patch(PODS, "p", {"metadata": {"finalizers": None}}, "shop")
    await cluster.delete(PODS, "p", "shop", grace=0)
    await cluster.gone(NAMESPACES, "shop")
