"""Pod Security: what the levels forbid, in upstream's words, and whom they tell."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.server.conftest import Api
from tiphys.api.http import MERGE_PATCH
from tiphys.server.admission.plugins.pod_security_checks import violations

PODS = "/api/v1/namespaces/default/pods"
GOOD = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
BARE = (
    'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
    'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
    'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
    'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to '
    '"RuntimeDefault" or "Localhost")'
)


def spec(security: Any = None, container: Any = None, **more: Any) -> Any:
    return {"containers": [{"name": "c", "image": "i", "securityContext": security or {}} | (container or {})]} | more


@pytest.mark.parametrize(
    ("pod", "found"),
    [
        (spec(hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)"),
        (spec({"privileged": True}), 'privileged (container "c" must not set securityContext.privileged=true)'),
        (
            spec({"capabilities": {"add": ["NET_ADMIN"]}}),
            'non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)',
        ),
        (spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
        (spec(container={"ports": [{"hostPort": 80}]}), 'hostPort (container "c" uses hostPort 80)'),
        (
            spec({"procMount": "Unmasked"}),
            'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
        ),
        (
            spec({"seLinuxOptions": {"user": "u"}}),
            'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: user may not be set)',
        ),
        (
            spec(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            spec(securityContext={"seccompProfile": {"type": "Unconfined"}}),
            'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
    ],
)
def test_baseline(pod: Any, found: str) -> None:
    assert violations("baseline", {}, pod) == [found]
    assert violations("privileged", {}, pod) == []


def test_restricted() -> None:
    assert violations("restricted", {}, spec(GOOD)) == []
    assert ", ".join(violations("restricted", {}, spec())) == BARE
    nfs = spec(GOOD, volumes=[{"name": "v", "nfs": {}}])
    assert violations("restricted", {}, nfs) == [
        'restricted volume types (volume "v" uses restricted volume type "nfs")'
    ]
    assert violations("restricted", {}, spec(GOOD | {"runAsUser": 0})) == [
        'runAsUser=0 (container "c" must not set runAsUser=0)'
    ]


async def label(api: Api, **levels: str) -> Any:
    labels = {f"pod-security.kubernetes.io/{mode.replace('_', '-')}": level for mode, level in levels.items()}
    return await api.respond(
        "PATCH", "/api/v1/namespaces/default", {"metadata": {"labels": labels}}, content_type=MERGE_PATCH
    )


async def test_pods_are_refused_and_workloads_warned_of(api: Api) -> None:
    await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    await api.ok("POST", PODS, {"metadata": {"name": "before"}, "spec": spec()})
    response = await label(api, enforce="restricted", warn="restricted")
    assert 'violate the new PodSecurity enforce level \\"restricted:latest\\"' in response.headers["Warning"]
    code, answer = await api("POST", PODS, {"metadata": {"name": "p"}, "spec": spec()})
    assert (code, answer["message"]) == (
        403,
        f'pods "p" is forbidden: violates PodSecurity "restricted:latest": {BARE}',
    )
    await api.ok("POST", PODS, {"metadata": {"name": "p"}, "spec": spec(GOOD)})
    labels = {"app": "web"}
    body = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec()}},
    }
    response = await api.respond("POST", "/apis/apps/v1/namespaces/default/deployments", body)
    assert response.status == 201
    assert 'would violate PodSecurity \\"restricted:latest\\"' in response.headers["Warning"]


async def test_a_level_that_is_none_is_refused(api: Api) -> None:
    assert (await label(api, enforce="strict")).status == 422
    assert (await label(api, enforce_version="new")).status == 422
