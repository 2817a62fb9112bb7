"""What nodes may do with PersistentVolumes: read those of their pods, and let go those that they keep."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.server.conftest import Api
from tiphys.api.http import User

NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
VOLUMES, CLAIMS = "/api/v1/persistentvolumes", "/api/v1/namespaces/default/persistentvolumeclaims"
MERGE = "application/merge-patch+json"
HELD = "tiphys.dev/local-volume"


def volume(name: str, node: str = "", **spec: Any) -> Any:
    meta: dict[str, Any] = {"name": name}
    if node:
        meta |= {"labels": {"tiphys.dev/node": node}, "finalizers": [HELD]}
    body = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    return {"metadata": meta, "spec": body | spec}


@pytest.fixture
async def kept(api: Api) -> Api:
    """With a volume of this node, `own`, and one of another, `other`."""
    await api.ok("POST", VOLUMES, volume("own", "n1"))
    await api.ok("POST", VOLUMES, volume("other", "n2"))
    return api


async def test_a_node_watches_what_it_keeps_itself(kept: Api) -> None:
    found = await kept.ok("GET", VOLUMES, user=NODE, labelSelector="tiphys.dev/node=n1")
    assert [item["metadata"]["name"] for item in found["items"]] == ["own"]
    for selector in ("", "tiphys.dev/node=n2", "tiphys.dev/node", "a=b"):
        assert (await kept("GET", VOLUMES, user=NODE, labelSelector=selector))[0] == 403


async def test_a_node_lets_a_volume_go_and_changes_nothing_else(kept: Api) -> None:
    for name, patch, wanted in (
        ("other", {"metadata": {"finalizers": ["kubernetes.io/pv-protection"]}}, 403),
        ("own", {"metadata": {"finalizers": None}}, 403),
        ("own", {"metadata": {"labels": {"tiphys.dev/node": "n2"}}}, 403),
        ("own", {"spec": {"capacity": {"storage": "9Gi"}}}, 403),
        ("own", {"metadata": {"finalizers": ["kubernetes.io/pv-protection"]}}, 200),
    ):
        code, answer = await kept("PATCH", f"{VOLUMES}/{name}", patch, user=NODE, content_type=MERGE)
        assert code == wanted, answer
    assert (await kept("DELETE", f"{VOLUMES}/own", user=NODE))[0] == 403


async def test_a_node_reads_the_volumes_of_its_own_pods_only(api: Api) -> None:
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    for name in ("mine", "p-scratch", "other"):
        reference = {"namespace": "default", "name": name}
        await api.ok("POST", VOLUMES, volume(f"v-{name}", claimRef=reference))
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        made = {"metadata": {"name": name}, "spec": spec | {"volumeName": f"v-{name}", "storageClassName": ""}}
        await api.ok("POST", CLAIMS, made)
    template = {"volumeClaimTemplate": {"spec": spec}}
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "mine"}}, {"name": "scratch", "ephemeral": template},
    ]  # fmt: skip
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "x"}], "volumes": volumes}
    await api.ok("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec})
    for name, wanted in (("mine", 200), ("p-scratch", 200), ("other", 403)):
        assert (await api("GET", f"{CLAIMS}/{name}", user=NODE))[0] == wanted
        assert (await api("GET", f"{VOLUMES}/v-{name}", user=NODE))[0] == wanted
        code, _ = await api("GET", VOLUMES, user=NODE, fieldSelector=f"metadata.name=v-{name}")
        assert code == wanted
    assert (await api("PATCH", f"{VOLUMES}/v-mine", {}, user=NODE, content_type=MERGE))[0] == 403
