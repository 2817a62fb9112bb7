"""`make bench`: what a cluster of one node costs and how fast it is, as medians, on this machine.

Start-up: `tiphys up` from nothing to node Ready, and to the first pod Running. Pods: create to Running with the
image present, a Deployment of 30, a killed container. Idle: PSS and CPU of server and agent. API: GETs and durable
creates over TLS with RBAC, per second and as CPU time of the server per operation. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))
from real_cluster import IMAGE, RealCluster, build_image

NAME = "bench"
PKI = Path(f"/var/lib/tiphys/{NAME}/pki")
PODS = "/api/v1/namespaces/default/pods"


class Api:
    """A client with the admin's certificate."""

    def __init__(self, url: str) -> None:
        tls = ssl.create_default_context(cafile=str(PKI / "ca.crt"))
        tls.load_cert_chain(PKI / "admin.crt", PKI / "admin.key")
        self.url, self.session = url, aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls, limit=0))

    async def send(self, method: str, path: str, body: object = None) -> dict:
        headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else None
        async with self.session.request(method, self.url + path, json=body, headers=headers) as answer:
            data = await answer.read()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {data.decode()}")
            return json.loads(data)

    async def until(self, path: str, done: Callable[[dict], bool], **query: str) -> None:
        """Watch until an object of the collection makes `done` true."""
        query = {"watch": "true", **query}
        timeout = aiohttp.ClientTimeout(total=120)
        async with self.session.get(self.url + path, params=query, timeout=timeout) as answer:
            async for line in answer.content:
                if done(json.loads(line)["object"]):
                    return


def running(pod: dict) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return bool(statuses) and all("running" in status["state"] for status in statuses)


def pod(name: str) -> dict:
    container = {"name": "c", "image": IMAGE, "env": [{"name": "VERSION", "value": "v1"}]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {"metadata": {"name": name, "labels": {"app": "bench"}}, "spec": spec}


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss(pid: int) -> float:
    """Proportional set size in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def report(what: str, value: float, unit: str, target: str = "") -> None:
    print(f"{what:<58} {value:>9.3f} {unit:<10} {target}", flush=True)


def start(cluster: RealCluster) -> float:
    subprocess.run(
        [Path(sys.executable).with_name("tiphys"), "down", NAME, "--purge"], capture_output=True, check=False
    )
    began = time.monotonic()
    cluster.tiphys("up", NAME)
    return time.monotonic() - began


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.monotonic()
    await work()
    return time.monotonic() - began


async def first_pod(cluster: RealCluster, scratch: Path) -> tuple[float, float]:
    """Seconds to Ready, and to the first pod Running (less the time that making its image takes)."""
    ready = start(cluster)
    build_image(cluster, scratch)
    api = Api(url())

    async def make() -> None:
        await api.until("/api/v1/namespaces/default/serviceaccounts", lambda obj: obj["metadata"]["name"] == "default")
        await api.send("POST", PODS, pod("first"))
        await api.until(PODS, running, fieldSelector="metadata.name=first")

    took = await timed(make)
    await api.session.close()
    return ready, ready + took


def url() -> str:
    settings = json.loads(Path(f"/var/lib/tiphys/{NAME}/cluster.json").read_text())
    return f"https://127.0.0.1:{settings['api_port']}"


async def pods(api: Api, rounds: int) -> None:
    latencies, restarts = [], []
    for number in range(rounds):
        name = f"p{number}"

        async def make(name: str = name) -> None:
            await api.send("POST", PODS, pod(name))
            await api.until(PODS, running, fieldSelector=f"metadata.name={name}")

        latencies.append(await timed(make))
        restarts.append(await killed(api, name))
        await api.send("DELETE", f"{PODS}/{name}")
    report("pod create to Running, image present, median", statistics.median(latencies), "s", "target 0.42")
    report("killed container back, median", statistics.median(restarts), "s", "target 1")


async def killed(api: Api, name: str) -> float:
    """Seconds from the death of a container to the next one running."""
    found = await api.send("GET", f"{PODS}/{name}")
    container = found["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    task = next(Path(f"/run/tiphys/{NAME}").rglob(f"{container}/init.pid"))
    os.kill(int(task.read_text()), 9)
    began = time.monotonic()

    def again(obj: dict) -> bool:
        return running(obj) and obj["status"]["containerStatuses"][0]["restartCount"] == 1

    await api.until(PODS, again, fieldSelector=f"metadata.name={name}")
    return time.monotonic() - began


async def thirty(api: Api) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"app": "thirty"}}, "spec": pod("x")["spec"]}
    spec = {"replicas": 30, "selector": {"matchLabels": {"app": "thirty"}}, "template": template}

    async def make() -> None:
        await api.send("POST", path, {"metadata": {"name": "thirty"}, "spec": spec})
        await api.until(path, lambda obj: obj["status"].get("readyReplicas") == 30)

    report("Deployment of 30 all Ready", await timed(make), "s", "target 4")
    await api.send("DELETE", f"{path}/thirty")
    while (await api.send("GET", f"{PODS}?labelSelector=app=thirty"))["items"]:
        await asyncio.sleep(0.5)


async def idle(cluster: RealCluster, seconds: float) -> None:
    roles = ("server", "agent")
    before = [cpu(cluster.pid(role)) for role in roles]
    await asyncio.sleep(seconds)
    used = [cpu(cluster.pid(role)) - start for role, start in zip(roles, before, strict=True)]
    sizes = [pss(cluster.pid(role)) for role in roles]
    report("server + agent idle, PSS", sum(sizes), "MiB", f"target 130  ({sizes[0]:.0f} + {sizes[1]:.0f})")
    report("server + agent idle, CPU of one core", 100 * sum(used) / seconds, "%", "target 0.5")


async def throughput(api: Api, cluster: RealCluster, count: int) -> None:
    config = {"metadata": {"generateName": "c-"}, "data": {"a": "x" * 800}}
    made = await api.send("POST", "/api/v1/namespaces/default/configmaps", {**config, "metadata": {"name": "one"}})
    assert made
    await measured(
        cluster,
        "GET of a 1 KiB object",
        count * 3,
        lambda: api.send("GET", "/api/v1/namespaces/default/configmaps/one"),
    )
    await measured(
        cluster, "durable create", count, lambda: api.send("POST", "/api/v1/namespaces/default/configmaps", config)
    )


async def measured(cluster: RealCluster, what: str, count: int, operation: Callable[[], Awaitable[object]]) -> None:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await operation()

    before, began = cpu(cluster.pid("server")), time.monotonic()
    await asyncio.gather(*(worker() for _ in range(32)))
    took, used = time.monotonic() - began, cpu(cluster.pid("server")) - before
    target = "target 5000" if what.startswith("GET") else "target 1500"
    report(f"{what}s a second (this client shares the machine)", count / took, "1/s")
    report(f"{what}: CPU of the server", used / count * 1e6, "us")
    report(f"{what}s a CPU-second of the server", count / used, "1/s", target)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cluster = RealCluster(NAME, Path(f"/etc/tiphys/{NAME}.kubeconfig"))
    try:
        with tempfile.TemporaryDirectory() as scratch:
            starts = [await first_pod(cluster, Path(scratch)) for _ in range(options.rounds)]
        report("up from nothing to node Ready, median", statistics.median(s[0] for s in starts), "s", "target 1.5")
        report(
            "up from nothing to first pod Running, median", statistics.median(s[1] for s in starts), "s", "target 2.2"
        )
        api = Api(url())
        await pods(api, options.rounds * 2)
        await thirty(api)
        await idle(cluster, 20)
        await throughput(api, cluster, 4000)
        await api.session.close()
    finally:
        subprocess.run([Path(sys.executable).with_name("tiphys"), "down", NAME, "--purge"], check=False)


if __name__ == "__main__":
    asyncio.run(main())
