"""What a pod asks of the kernel and gets: identity, rights, namespaces, mounts, names. One pod each, on one kubelet."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from kubelet_fixture import Cluster, cluster, ended, one

from tiphys.kinds.core.configmap import CONFIG_MAPS

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kube(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path_factory.mktemp("settings")) as made:
        meta = {"name": "conf", "namespace": "default"}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"file": "content"}}
        await made.client.of(CONFIG_MAPS).create(body)
        yield made


def tmpfs(spec: dict[str, Any], **volume: Any) -> dict[str, Any]:
    spec["volumes"] = [{"name": "v", **volume}]
    spec["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    return spec


def pod(spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**spec, **more}


def context(script: str, **security: Any) -> dict[str, Any]:
    return one(script, securityContext=security)


SAY = " > /dev/termination-log"
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "user-and-group": (context(f"echo $(id -u):$(id -g){SAY}", runAsUser=1000, runAsGroup=2000), "1000:2000"),
    "groups": (
        pod(one(f"id -G{SAY}"), securityContext={"supplementalGroups": [7], "fsGroup": 8, "runAsUser": 9}), "0 7 8"
    ),
    "readonly-root": (context(f"touch /x; echo $?{SAY}", readOnlyRootFilesystem=True), "1"),
    "dropped": (context(f"grep CapEff /proc/self/status | cut -f2{SAY}", capabilities={"drop": ["ALL"]}), "0" * 16),
    "no-escalation": (context(f"grep NoNew /proc/self/status | cut -f2{SAY}", allowPrivilegeEscalation=False), "1"),
    "seccomp": (
        context(f"grep Seccomp: /proc/self/status | cut -f2{SAY}", seccompProfile={"type": "RuntimeDefault"}), "2"
    ),
    "sysctl": (
        pod(one(f"cat /proc/sys/net/ipv4/ip_local_port_range | tr '\\t' ' '{SAY}"),
            securityContext={"sysctls": [{"name": "net.ipv4.ip_local_port_range", "value": "2000 3000"}]}),
        "2000 3000",
    ),
    "hostname": (pod(one(f"hostname{SAY}"), hostname="other"), "other"),
    "hosts": (
        pod(one(f"grep alias /etc/hosts | cut -f1{SAY}"), hostAliases=[{"ip": "192.0.2.7", "hostnames": ["alias"]}]),
        "192.0.2.7",
    ),
    "dns": (
        pod(one(f"grep -v '^$' /etc/resolv.conf | tr '\\n' ' '{SAY}"), dnsPolicy="None",
            dnsConfig={"nameservers": ["192.0.2.53"], "searches": ["a.example"],
                       "options": [{"name": "ndots", "value": "3"}]}),
        "search a.example nameserver 192.0.2.53 options ndots:3",
    ),
    "host-network": (pod(one(f"test -e /sys/class/net/lo; hostname{SAY}"), hostNetwork=True), os.uname().nodename),
    "memory-volume": (tmpfs(one(f"stat -f -c %T /v{SAY}"), emptyDir={"medium": "Memory"}), "tmpfs"),
    "volume-mode": (tmpfs(one(f"stat -c %a /v{SAY}"), emptyDir={}), "777"),
    "fs-group": (
        pod(tmpfs(context(f"cat /v/file{SAY}", runAsUser=1000), configMap={"name": "conf", "defaultMode": 256}),
            securityContext={"fsGroup": 3000}),
        "content",
    ),
    "args": (one(f"echo $0 $1{SAY}", args=["$(A)", "$$(A)"], env=[{"name": "A", "value": "x"}]), "x $(A)"),
    "working-directory": (one(f"pwd{SAY}", workingDir="/tmp"), "/tmp"),
    "shared-processes": (pod(one(f"cat /proc/1/cmdline | tr '\\0' ' '{SAY}"), shareProcessNamespace=True), "/pause"),
    "sub-path": (
        {**tmpfs(one(f"cat /one{SAY}"), configMap={"name": "conf"}),
         "containers": [{"name": "main", "image": "busybox:1", "command": ["sh", "-c", f"cat /one{SAY}"],
                         "volumeMounts": [{"name": "v", "mountPath": "/one", "subPath": "file"}]}]},
        "content",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_the_container_sees_what_was_asked_for(kube: Cluster, name: str) -> None:
    spec, expected = CASES[name]
    await kube.create(name, spec)
    found = await kube.until(name, ended)
    state = found["status"]["containerStatuses"][0]["state"]["terminated"]
    assert state.get("message", "").strip() == expected, found["status"]


async def test_a_host_path_is_shared_with_the_node(kube: Cluster, tmp_path: Path) -> None:
    spec = tmpfs(one("echo from pod > /v/file"), hostPath={"path": str(tmp_path / "new"), "type": "DirectoryOrCreate"})
    await kube.create("host-path", spec)
    await kube.until("host-path", ended)
    assert (tmp_path / "new/file").read_text() == "from pod\n"


async def test_running_as_root_is_refused_where_it_must_not_be(kube: Cluster) -> None:
    await kube.create("non-root", context("true", runAsNonRoot=True))

    def refused(pod: dict[str, Any]) -> bool:
        statuses = pod["status"].get("containerStatuses") or [{"state": {}}]
        return statuses[0]["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError"

    found = await kube.until("non-root", refused)
    assert "image will run as root" in found["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
