"""`make bench-api`: what an operation of the API server costs in processor time, over TLS, with RBAC and admission.

A server of its own process over SQLite, 16 clients, a user who is no administrator. CPU per operation is that of the
server's process and does not depend on who else uses the machine; latencies do. In brackets stands the target, and what
kube-apiserver with etcd v1.36 takes on the same kind of machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Network
from pathlib import Path

import aiohttp

Make = Callable[[str], dict]
Operation = Callable[[int], Awaitable[object]]
CLIENTS = 16
MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/many/pods"
FOOS = "/apis/bench.example.com/v1/namespaces/default/foos"
NETWORK = IPv4Network("10.96.0.0/16")


async def serve(directory: Path, port: int) -> None:
    """The child: a server until it is killed."""
    from tiphys.api.http import User
    from tiphys.base.clock import SystemClock
    from tiphys.base.tasks import Supervisor
    from tiphys.client.inprocess import InProcess
    from tiphys.kinds.registry import builtin
    from tiphys.main.pki import Pki, load_key
    from tiphys.server.assemble import Settings, assemble
    from tiphys.server.bootstrap import bootstrap
    from tiphys.server.connect import Connect
    from tiphys.server.web import Front
    from tiphys.store.sqlite import SqliteStore

    clock, pki = SystemClock(), Pki(directory / "pki")
    root = User("admin", groups=("system:masters", "system:authenticated"))
    async with AsyncExitStack() as stack:
        store = await SqliteStore.open(directory / "store.db")
        stack.push_async_callback(store.close)
        settings = Settings(NETWORK, "https://issuer", load_key(pki.key("sa")))
        assembled = await assemble(store, builtin(), settings, clock)
        supervisor = await stack.enter_async_context(Supervisor(clock))
        supervisor.start("cache", assembled.cache.run)
        await bootstrap(InProcess(assembled.server.handle, root, "bench"), NETWORK)
        supervisor.start("custom resources", assembled.custom.run)
        front = Front(assembled.server, assembled.authenticator, Connect(assembled.server, pki.client_tls("admin")))
        await front.start("127.0.0.1", port, pki.server_tls("server"))
        print(front.port, flush=True)
        await asyncio.Event().wait()


class Api:
    """Clients with one certificate; `times` collects how long each call took, in seconds."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        # Nothing is compressed, so that sizes are those of the JSON.
        headers = {"Accept-Encoding": "identity"}
        self.session = aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=tls, limit=0), headers=headers)
        self.times: list[float] = []

    async def send(self, method: str, path: str, body: object = None, media: str = "application/json") -> bytes:
        began = time.perf_counter()
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": media, "Accept": "application/json"}
        async with self.session.request(method, path, data=data, headers=headers) as answer:
            content = await answer.read()
        self.times.append(time.perf_counter() - began)
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {content.decode()}")
        return content


class Bench:
    def __init__(self, pid: int, admin: Api, user: Api) -> None:
        self.pid, self.admin, self.user = pid, admin, user

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024

    async def measure(
        self,
        what: str,
        count: int,
        operation: Callable[[int], Awaitable[object]],
        target: str,
        *,
        clients: int = CLIENTS,
    ) -> None:
        left = iter(range(count))

        async def client() -> None:
            for number in left:
                await operation(number)

        self.user.times.clear()
        before, began = self.cpu(), time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        used, took = self.cpu() - before, time.perf_counter() - began
        times = sorted(self.user.times)
        p99 = f"p99 {times[int(len(times) * 0.99)] * 1e3:6.1f} ms" if times else ""
        report(what, used / count * 1e3, "ms", f"[{target}]  {count / took:7.0f}/s {p99}")


def report(what: str, value: float, unit: str, more: str = "") -> None:
    print(f"{what:<44} {value:>9.3f} {unit:<4} {more}", flush=True)


def config(name: str, size: int = 650) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "x" * size}}


def pod(name: str) -> dict:
    env = [{"name": f"VARIABLE_{number}", "value": f"value-{number}"} for number in range(17)]
    container = {"name": "c", "image": "registry.example.com/team/web:1", "env": env}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }  # fmt: skip


DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "foos.bench.example.com"},
    "spec": {
        "group": "bench.example.com", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
        "versions": [{
            "name": "v1", "served": True, "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "data": {"type": "object", "additionalProperties": {"type": "string"}}}}},
        }],
    },
}  # fmt: skip


def foo(name: str) -> dict:
    return {"apiVersion": "bench.example.com/v1", "kind": "Foo", "metadata": {"name": name}, "data": {"a": "x" * 650}}


async def prepare(bench: Bench) -> None:
    send = bench.admin.send
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bench"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bench"}
    rule = {"apiGroups": ["", "bench.example.com"], "resources": ["configmaps", "pods", "foos"], "verbs": ["*"]}
    await send("POST", f"{rbac}/clusterroles", {"metadata": {"name": "bench"}, "rules": [rule]})
    body = {"metadata": {"name": "bench"}, "roleRef": role, "subjects": [subject]}
    await send("POST", f"{rbac}/clusterrolebindings", body)
    for name in ("many", "list"):
        await send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    await send("POST", "/api/v1/namespaces/many/serviceaccounts", {"metadata": {"name": "default"}})
    await send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION)
    while b"Established" not in await send(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.bench.example.com"
    ):
        await asyncio.sleep(0.05)


async def verbs(bench: Bench, count: int) -> None:
    send = bench.user.send
    merge, change = "application/merge-patch+json", {"data": {"b": "z"}}
    for kind, path, make in (("", MAPS, config), ("custom: ", FOOS, foo)):
        targets = ["0.06, upstream 0.56", "0.35, 1.43", "0.40, 1.79", "0.45, 1.87", "0.30, 1.06"]
        if kind:
            targets = ["within 20 %"] * 5
        await send("POST", path, make("one"))
        await bench.measure(f"{kind}GET of 1 KiB", count * 4, lambda n, p=path: send("GET", f"{p}/one"), targets[0])
        made: dict[int, dict] = {}

        async def create(n: int, path: str = path, make: Make = make, made: dict[int, dict] = made) -> None:
            made[n] = json.loads(await send("POST", path, make(f"c{n}")))

        async def update(n: int, path: str = path, made: dict[int, dict] = made) -> None:
            await send("PUT", f"{path}/c{n}", {**made[n], "data": {"a": "y" * 650}})

        await bench.measure(f"{kind}create", count, create, targets[1])
        await bench.measure(f"{kind}update", count, update, targets[2])
        await bench.measure(
            f"{kind}patch", count, lambda n, p=path: send("PATCH", f"{p}/c{n}", change, merge), targets[3]
        )
        await bench.measure(f"{kind}delete", count, lambda n, p=path: send("DELETE", f"{p}/c{n}"), targets[4])


async def lists(bench: Bench, pods: int) -> None:
    send = bench.user.send
    maps = "/api/v1/namespaces/list/configmaps"
    for number in range(500):
        await send("POST", maps, config(f"l{number}"))
    await bench.measure("LIST of 500 of them", 200, lambda n: send("GET", maps), "1.5, upstream 7.7")
    await bench.measure("create of a pod", pods, lambda n: send("POST", PODS, pod(f"p{n}")), "")
    size = len(await send("GET", PODS)) / 1e6
    await bench.measure(
        f"LIST of {pods} pods, {size:.0f} MB", 10, lambda n: send("GET", PODS), "40, upstream 236", clients=2
    )


async def watches(bench: Bench, watchers: int, writes: int) -> None:
    """CPU of a delivery: writes with many watchers, less the same writes with none."""
    send = bench.user.send

    async def write(n: int) -> None:
        await send("PUT", f"{MAPS}/watched", {**config("watched"), "data": {"a": f"{n} " + "x" * 640}})

    await send("POST", MAPS, config("watched"))
    before = bench.cpu()
    for number in range(writes):
        await write(number)
    alone = bench.cpu() - before
    seen = 0
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal seen
        timeout = aiohttp.ClientTimeout(total=None)
        async with bench.user.session.get(f"{MAPS}?watch=true&resourceVersion={version}", timeout=timeout) as answer:
            async for _ in answer.content:
                seen += 1
                if seen == watchers * writes:
                    done.set()

    version = json.loads(await send("GET", MAPS))["metadata"]["resourceVersion"]
    async with asyncio.TaskGroup() as tasks:
        open_ = [tasks.create_task(watch()) for _ in range(watchers)]
        await asyncio.sleep(1)
        before = bench.cpu()
        for number in range(writes):
            await write(number + writes)
        await done.wait()
        together = bench.cpu() - before
        for task in open_:
            task.cancel()
    delivery = (together - alone) / (watchers * writes) * 1e3
    report(f"delivery to one of {watchers} watchers", delivery, "ms", "[0.012, upstream 0.084-0.103]")


async def memory(bench: Bench, objects: int) -> None:
    before = bench.memory()
    size = 0

    async def create(n: int) -> None:
        nonlocal size
        answer = await bench.user.send("POST", "/api/v1/namespaces/many/configmaps", config(f"m{n}"))
        size += len(answer)

    await bench.measure(f"create, up to {objects} objects", objects, create, "0.35")
    stored = size / 2**20
    report(f"memory per byte stored at {objects}", (bench.memory() - before) / stored, "x", f"[2.5]  {stored:.0f} MiB")


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    """A fresh server in a process of its own."""
    from tiphys.main.pki import Leaf, Pki

    with tempfile.TemporaryDirectory() as scratch:
        pki = Pki(Path(scratch) / "pki")
        leaves = {"admin": Leaf("admin", ("system:masters",)), "bench": Leaf("bench")}
        pki.ensure("bench", {"server": Leaf("server", names=("127.0.0.1",)), **leaves})
        child = subprocess.Popen([sys.executable, __file__, "--serve", scratch, "0"], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            url = f"https://127.0.0.1:{child.stdout.readline().strip()}"
            admin, user = (Api(url, pki.client_tls(name)) for name in leaves)
            async with admin.session, user.session:
                bench = Bench(child.pid, admin, user)
                await prepare(bench)
                yield bench
        finally:
            child.kill()
            child.wait()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=2, metavar=("DIRECTORY", "PORT"))
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--objects", type=int, default=100_000)
    options = parser.parse_args()
    if options.serve:
        await serve(Path(options.serve[0]), int(options.serve[1]))
        return
    async with running() as bench:
        await verbs(bench, options.count)
        await lists(bench, options.pods)
        await watches(bench, 100, 200)
    async with running() as bench:
        await memory(bench, options.objects)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
