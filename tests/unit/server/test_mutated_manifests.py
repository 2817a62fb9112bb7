"""Good manifests with one thing wrong, wherever it may be: the answer is a Status that the client caused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiphys.api.http import APPLY_PATCH, MERGE_PATCH, STRATEGIC_PATCH

PATHS = {
    "Pod": "/api/v1/namespaces/default/pods",
    "Service": "/api/v1/namespaces/default/services",
    "Deployment": "/apis/apps/v1/namespaces/default/deployments",
    "StatefulSet": "/apis/apps/v1/namespaces/default/statefulsets",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "CronJob": "/apis/batch/v1/namespaces/default/cronjobs",
    "PersistentVolumeClaim": "/api/v1/namespaces/default/persistentvolumeclaims",
    "ResourceQuota": "/api/v1/namespaces/default/resourcequotas",
    "LimitRange": "/api/v1/namespaces/default/limitranges",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
}
MANIFESTS = list(yaml.safe_load_all((Path(__file__).parent / "manifests.yaml").read_text()))
ODD = [
    None,
    "",
    "a b",
    "-",
    "x" * 300,
    0,
    -1,
    2**40,
    1.5,
    True,
    [],
    {},
    [None],
    [[]],
    {"a": None},
    "2147483648m",
    "%",
    "::1",
]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every place below the root."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def changed(manifest: dict, path: tuple, value: Any) -> dict:
    made = copy.deepcopy(manifest)
    here = made
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = copy.deepcopy(value)
    return made


PATCHES = (MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
DIRECTIVES = [
    {"$patch": "delete"},
    {"$retainKeys": ["a"]},
    {"$deleteFromPrimitiveList/x": ["a"]},
    {"$setElementOrder/x": [{"name": "c"}]},
    [{"$patch": "replace"}],
    [{"$patch": "delete", "name": "c"}],
    ["a", {"b": 1}],
]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: m["kind"])
async def test_one_thing_wrong_anywhere_is_refused_and_not_tripped_over(api, manifest):
    path = PATHS[manifest["kind"]]
    await api("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    named = f"{path}/{manifest['metadata']['name']}"
    code, made = await api("POST", path, manifest)
    assert code == 201, made
    found = []

    async def send(method: str, url: str, body: Any, **options: Any) -> None:
        response = await api.respond(method, url, body, dryRun="All", **options)
        if response.status >= 500:
            found.append((method, options, body, response.body[:300]))

    for place in places(manifest):
        for value in ODD:
            await send("POST", path, changed(manifest, place, value))
            await send("PUT", named, changed(manifest, place, value))
        for value in [*ODD[:3], *DIRECTIVES]:
            patch = {"apiVersion": made["apiVersion"], **changed(manifest, place, value)}
            for media in PATCHES:
                await send("PATCH", named, patch, content_type=media, fieldManager="m", force="true")
    assert found == []
