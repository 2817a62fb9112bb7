"""What nodes may do with claims and slices of devices: read those of their pods, and say which devices they have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.server.conftest import Api
from tiphys.api.http import User

NODE = User("system:node:n1", groups=("system:nodes", "system:authenticated"))
ROOT = "/apis/resource.k8s.io/v1"
CLAIMS, SLICES = f"{ROOT}/namespaces/default/resourceclaims", f"{ROOT}/resourceslices"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


def slice_(name: str, **where: Any) -> Any:
    spec = {"driver": "d.example.com", "pool": {"name": name, "generation": 1, "resourceSliceCount": 1}}
    return {"metadata": {"name": name}, "spec": {**spec, **where, "devices": [{"name": "d0"}]}}


async def test_a_node_says_of_no_other_which_devices_it_has(api: Api) -> None:
    await api.ok("POST", SLICES, slice_("mine", nodeName="n1"), user=NODE)
    for where in ({"nodeName": "n2"}, {"allNodes": True}):
        code, answer = await api("POST", SLICES, slice_("other", **where), user=NODE)
        assert code == 403
        words = "can only create ResourceSlice with the same NodeName as the requesting node"
        assert words in answer["message"]
    await api.ok("POST", SLICES, slice_("other", nodeName="n2"))
    taint = {"spec": {"devices": [{"name": "d0", "taints": [{"key": "k", "effect": "NoExecute"}]}]}}
    assert (await api("PATCH", f"{SLICES}/other", taint, user=NODE, content_type=MERGE))[0] == 403
    assert (await api("DELETE", f"{SLICES}/other", user=NODE))[0] == 403
    await api.ok("PATCH", f"{SLICES}/mine", taint, user=NODE, content_type=MERGE)
    await api.ok("DELETE", SLICES, user=NODE, fieldSelector="spec.nodeName=n1")


@pytest.mark.parametrize(
    "status",
    [
        None,
        {"resourceClaimStatuses": [{"name": "c", "resourceClaimName": "mine"}]},
        {"extendedResourceClaimStatus": {"resourceClaimName": "mine", "requestMappings": []}},
    ],
)
async def test_a_node_reads_the_claims_of_its_own_pods_only(api: Api, status: Any) -> None:
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    spec = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}
    for name in ("mine", "other"):
        await api.ok("POST", CLAIMS, {"metadata": {"name": name}, "spec": spec})
    assert (await api("GET", f"{CLAIMS}/mine", user=NODE))[0] == 403
    by = {"resourceClaimTemplateName": "t"} if status else {"resourceClaimName": "mine"}
    body = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1", "resourceClaims": [{"name": "c", **by}]}
    await api.ok("POST", PODS, {"metadata": {"name": "p"}, "spec": body})
    if status:
        await api.ok("PATCH", f"{PODS}/p/status", {"status": status}, content_type=MERGE)
    assert (await api("GET", f"{CLAIMS}/mine", user=NODE))[0] == 200
    assert (await api("GET", f"{CLAIMS}/other", user=NODE))[0] == 403
    assert (await api("GET", CLAIMS, user=NODE))[0] == 403
    reserved = {"status": {"reservedFor": None}}
    assert (await api("PATCH", f"{CLAIMS}/mine/status", reserved, user=NODE, content_type=MERGE))[0] == 403
