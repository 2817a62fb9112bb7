"""What every cluster has from its first moment: namespaces, roles, priorities, flow control, the `kubernetes` Service.

Runs at every start of a server and only adds what is missing or, for roles, what an upgrade brought (as upstream's
auto-reconciliation does). Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import orjson

from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.base.backoff import Backoff
from tiphys.client.transport import Transport
from tiphys.server import policy
from tiphys.server.flow_control import policy as flow_policy

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_TRIES, _AGAIN = 6, Backoff(0.02, 1.0)
_STORAGE_CLASS: Json = {
    "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "tiphys.dev/local", "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
    "allowVolumeExpansion": True,
}  # fmt: skip
AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"


async def bootstrap(transport: Transport, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
    """`transport` must be a superuser's."""
    if not await _exists(transport, f"/api/v1/namespaces/{_NAMESPACES[1]}"):
        # Before the first namespace of a new cluster and never again: whoever deletes the class does not get it back.
        await _create(transport, "/apis/storage.k8s.io/v1/storageclasses", _STORAGE_CLASS)
    await _create_all(transport, (("/api/v1/namespaces", _named(name)) for name in _NAMESPACES))
    await asyncio.gather(
        _create_all(transport, _classes()),
        _create_all(transport, _service(network)),
        _reconcile(transport, "clusterroles", policy.cluster_roles()),
        _reconcile(transport, "clusterrolebindings", policy.cluster_role_bindings()),
        _create_all(transport, policy.namespaced()),
        _create_all(transport, flow_policy.objects()),
    )


async def _exists(transport: Transport, path: str) -> bool:
    try:
        await transport.send("GET", path)
    except errors.NotFound:
        return False
    return True


async def publish_endpoints(transport: Transport, servers: Sequence[str]) -> None:
    """Say where the API servers are, behind the `kubernetes` Service; `servers` are URLs with addresses and a port."""
    places = [urlsplit(url) for url in servers]
    ports = [{"name": "https", "port": places[0].port, "protocol": "TCP"}]
    addresses = [place.hostname or "" for place in places]
    endpoints = {
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address} for address in addresses], "ports": ports}],
    }
    slice_ = {
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv6" if ":" in addresses[0] else "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": ports,
    }
    await _put(transport, "/api/v1/namespaces/default/endpoints", endpoints)
    await _put(transport, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice_)


async def publish_authentication(transport: Transport, client_ca: str, front_proxy_ca: str, name: str) -> None:
    """Tell extension API servers whom to believe: CAs in PEM, and the `name` that the front proxy goes by."""
    data = {
        "client-ca-file": client_ca, "requestheader-client-ca-file": front_proxy_ca,
        "requestheader-allowed-names": f'["{name}"]', "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-uid-headers": '["X-Remote-Uid"]', "requestheader-group-headers": '["X-Remote-Group"]',
        "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    }  # fmt: skip
    body = {"metadata": {"name": "extension-apiserver-authentication"}, "data": data}
    await _put(transport, "/api/v1/namespaces/kube-system/configmaps", body)


def _named(name: str) -> Json:
    return {"metadata": {"name": name}}


def _classes() -> Iterator[tuple[str, Json]]:
    for name, value in _SYSTEM_CLASSES.items():
        must = "run in the cluster" if value == _SYSTEM_CLASSES["system-cluster-critical"] else "not be moved"
        text = f"Used for system critical pods that must {must}."
        yield "/apis/scheduling.k8s.io/v1/priorityclasses", {**_named(name), "value": value, "description": text}


def _service(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Iterator[tuple[str, Json]]:
    cidr = {**_named("kubernetes"), "spec": {"cidrs": [str(network)]}}
    yield "/apis/networking.k8s.io/v1/servicecidrs", cidr
    labels = {"component": "apiserver", "provider": "kubernetes"}
    spec = {
        "clusterIP": str(network[1]), "type": "ClusterIP", "sessionAffinity": "None",
        "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
    }  # fmt: skip
    yield "/api/v1/namespaces/default/services", {"metadata": {"name": "kubernetes", "labels": labels}, "spec": spec}


async def _create_all(transport: Transport, wanted: Iterable[tuple[str, Json]]) -> None:
    await asyncio.gather(*(_create(transport, path, obj) for path, obj in wanted))


async def _create(transport: Transport, path: str, obj: Json) -> bool:
    """Create what is missing, unless another server does so at the same time; whether it was."""
    for failures in range(_TRIES):
        try:
            await transport.send("GET", f"{path}/{obj['metadata']['name']}")
            return False
        except errors.NotFound:
            try:
                await transport.send("POST", path, body=orjson.dumps(obj))
                return True
            except errors.AlreadyExists:
                return False
            except errors.Invalid:
                # Another server has taken the Service's address, and is about to store it.
                if failures == _TRIES - 1:
                    raise
        await asyncio.sleep(_AGAIN.delay(failures))
    return False


async def _put(transport: Transport, collection: str, obj: Json) -> None:
    if not await _create(transport, collection, obj):
        await transport.send("PUT", f"{collection}/{obj['metadata']['name']}", body=orjson.dumps(obj))


async def _reconcile(transport: Transport, plural: str, wanted: Iterable[Json]) -> None:
    listed = orjson.loads(await transport.send("GET", f"{_RBAC}/{plural}"))
    present = {obj["metadata"]["name"]: obj for obj in listed["items"]}
    await asyncio.gather(*(_reconcile_one(transport, plural, obj, present) for obj in wanted))


async def _reconcile_one(transport: Transport, plural: str, obj: Json, present: dict[str, Json]) -> None:
    found = present.get(obj["metadata"]["name"])
    if found is None:
        await _create(transport, f"{_RBAC}/{plural}", obj)
        return
    if (found["metadata"].get("annotations") or {}).get(AUTO_UPDATE) == "false":
        return
    field = "rules" if plural == "clusterroles" else "subjects"
    if "aggregationRule" in obj:
        return
    missing = [item for item in obj.get(field) or () if item not in (found.get(field) or ())]
    if missing:
        found[field] = [*(found.get(field) or ()), *missing]
        # Another server brings the same, if it is of the same version; if not, the next start does.
        with suppress(errors.Conflict):
            await transport.send("PUT", f"{_RBAC}/{plural}/{obj['metadata']['name']}", body=orjson.dumps(found))
