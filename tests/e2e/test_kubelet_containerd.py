"""Pods on the real containerd, seen as a user of the API sees them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from kubelet_fixture import cluster, ended, one, running

from tiphys.kinds.core.configmap import CONFIG_MAPS
from tiphys.kinds.core.pod import PODS
from tiphys.kubelet import log_rotation
from tiphys.kubelet.server.log_files import LogOptions, read
from tiphys.node import cri_pb2 as pb
from tiphys.node.cri import Cri

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


async def test_a_pod_runs_and_its_status_says_how_it_ended(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        await kube.create("ok", one("echo done > /dev/termination-log; exit 0"))
        await kube.create("bad", one("exit 3"))
        good, bad = await asyncio.gather(kube.until("ok", ended), kube.until("bad", ended))
        assert good["status"]["phase"] == "Succeeded"
        state = good["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (state["exitCode"], state["reason"], state["message"]) == (0, "Completed", "done\n")
        assert bad["status"]["phase"] == "Failed"
        assert bad["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
        assert good["status"]["podIP"].startswith("10.")


async def test_a_deleted_pod_goes_and_leaves_nothing(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        await kube.create("web", one("exec sleep 1000"))
        pod = await kube.until("web", running)
        uid = pod["metadata"]["uid"]
        assert kube.host.cgroups.pods().keys() == {uid}
        await kube.client.of(PODS).delete((await kube.client.of(PODS).get("web", "default")).metadata)
        await kube.gone("web")
        cri = Cri(kube.host.containerd.endpoint)
        async with asyncio.timeout(20):
            while (await cri.call(pb.ListPodSandboxRequest())).items or kube.host.cgroups.pods():
                await asyncio.sleep(0.01)
        cri.close()
        assert not (tmp_path / "kubelet/pods" / uid).exists()


async def test_a_killed_container_is_back_at_once(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        await kube.create("web", one("exec sleep 1000") | {"restartPolicy": "Always"})
        pod = await kube.until("web", running)
        identifier = pod["status"]["containerStatuses"][0]["containerID"].rpartition("//")[2]
        cri = Cri(kube.host.containerd.endpoint)
        await cri.call(pb.StopContainerRequest(container_id=identifier, timeout=0))
        cri.close()

        def back(pod: dict) -> bool:
            status = pod["status"]["containerStatuses"][0]
            return status["restartCount"] == 1 and "running" in status["state"]

        pod = await kube.until("web", back)
        assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137


async def test_a_restarted_kubelet_adopts_containers(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        await kube.create("web", one("exec sleep 1000"))
        before = await kube.until("web", running)
        await kube.restart()
        await kube.create("next", one("true"))
        await kube.until("next", ended)
        after = await kube.until("web", running)
        assert after["status"]["containerStatuses"][0] == before["status"]["containerStatuses"][0]


async def test_configuration_reaches_the_container_and_follows_changes(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        maps = kube.client.of(CONFIG_MAPS)
        meta = {"name": "conf", "namespace": "default"}
        await maps.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"who": "me"}})
        script = (
            'echo "$WHO $SELF $IP" > /dev/termination-log; id -u >> /dev/termination-log;'
            "while grep -q me /conf/who; do usleep 20000; done; exit 7"
        )
        env = [
            {"name": "WHO", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "who"}}},
            {"name": "SELF", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ]
        mounts = [{"name": "conf", "mountPath": "/conf"}, {"name": "tmp", "mountPath": "/scratch"}]
        spec = one(script, env=env, volumeMounts=mounts, securityContext={"runAsUser": 1000})
        spec["volumes"] = [
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "tmp", "emptyDir": {"medium": "Memory"}},
        ]
        await kube.create("reader", spec)
        pod = await kube.until("reader", running)
        address = pod["status"]["podIP"]
        await maps.patch((await maps.get("conf", "default")).metadata, {"data": {"who": "you"}})
        pod = await kube.until("reader", ended)
        state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
        assert state["exitCode"] == 7
        assert state["message"].split() == ["me", "reader", address, "1000"]


async def test_init_containers_run_first_and_sidecars_go_last(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        spec = one("cat /data/log > /dev/termination-log")
        mounts = [{"name": "data", "mountPath": "/data"}]
        spec["containers"][0]["volumeMounts"] = mounts
        base = {"image": "busybox:1", "volumeMounts": mounts}
        spec["initContainers"] = [
            {**base, "name": "first", "command": ["sh", "-c", "echo first >> /data/log"]},
            {**base, "name": "side", "command": ["sh", "-c", "echo side >> /data/log; exec sleep 1000"],
             "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["grep", "side", "/data/log"]}}},
            {**base, "name": "second", "command": ["sh", "-c", "echo second >> /data/log"]},
        ]  # fmt: skip
        spec["volumes"] = [{"name": "data", "emptyDir": {}}]
        await kube.create("inits", spec)
        pod = await kube.until("inits", ended)
        assert pod["status"]["phase"] == "Succeeded"
        message = pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
        assert message.split() == ["first", "side", "second"]


async def test_a_failing_liveness_probe_restarts_and_readiness_follows(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        probe = {"exec": {"command": ["test", "-e", "/ok"]}, "periodSeconds": 1, "failureThreshold": 1}
        spec = one("touch /ok; exec sleep 1000", livenessProbe=probe, readinessProbe=probe)
        spec["restartPolicy"] = "Always"
        await kube.create("probed", spec)

        def ready(pod: dict) -> bool:
            return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))

        pod = await kube.until("probed", ready)
        identifier = pod["status"]["containerStatuses"][0]["containerID"].rpartition("//")[2]
        cri = Cri(kube.host.containerd.endpoint)
        await cri.call(pb.ExecSyncRequest(container_id=identifier, cmd=["rm", "/ok"]))
        cri.close()
        pod = await kube.until("probed", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
        pod = await kube.until("probed", ready)
        assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137


async def test_a_resize_reaches_the_running_container(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        resources = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
        await kube.create("sized", one("exec sleep 1000", resources=resources))
        pod = await kube.until("sized", running)
        pods = kube.client.of(PODS)
        meta = (await pods.get("sized", "default")).metadata
        patch = {"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "300m", "memory": "96Mi"}}}]}}
        await pods.patch(meta, patch, kind="strategic", subresource="resize")
        identifier = pod["status"]["containerStatuses"][0]["containerID"].rpartition("//")[2]
        cri = Cri(kube.host.containerd.endpoint)
        async with asyncio.timeout(20):
            while True:
                status = (await cri.call(pb.ContainerStatusRequest(container_id=identifier))).status
                if status.resources.linux.memory_limit_in_bytes == 96 << 20:
                    break
                await asyncio.sleep(0.01)
        assert status.resources.linux.cpu_quota == 30_000
        cri.close()
        after = await kube.until("sized", running)
        assert after["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_pod_for_which_there_is_no_room_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube:
        await kube.create("huge", one("true", resources={"requests": {"memory": "10Ti"}}))
        pod = await kube.until("huge", ended)
        assert (pod["status"]["phase"], pod["status"]["reason"]) == ("Failed", "OutOfmemory")


async def test_a_large_log_is_rotated_and_still_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_rotation, "MAX_BYTES", 1000)
    async with cluster(tmp_path) as kube:
        script = "for i in $(seq 100); do echo line $i; done; while [ ! -e /go ]; do usleep 10000; done; echo last"
        await kube.create("talker", one(script))
        pod = await kube.until("talker", running)
        identifier = pod["status"]["containerStatuses"][0]["containerID"].rpartition("//")[2]
        [path] = (tmp_path / "logs").glob("*_talker_*/main/0.log")
        async with asyncio.timeout(20):
            while b"line 100\n" not in path.read_bytes():
                await asyncio.sleep(0.01)
        assert await log_rotation.rotate(kube.kubelet.runtime, identifier, path, 1_000_000_000.0)
        await kube.kubelet.runtime.exec_sync(identifier, ["touch", "/go"], 10)
        await kube.until("talker", ended)
        assert path.read_text().count("\n") == 1
        text = b"".join([block async for block in read(path, LogOptions(), lambda: False)])
        assert text.startswith(b"line 1\n")
        assert text.endswith(b"line 100\nlast\n")
