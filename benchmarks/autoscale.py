"""`make bench-autoscale`: load from outside on a real app, and what the cluster makes of it; needs root.

The demo app, whose page `work` costs some 30 ms of CPU, behind its Service, with an autoscaler for its pods, one for
nodes, and scale to zero. The load comes from a network namespace of its own through the node port: little, five times
as much, none, one request. Requests, pods and nodes over time become a picture, `docs/autoscaling.svg`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "e2e"))
from bench import cpu
from real_cluster import TIPHYS, RealCluster

ROOT = Path(__file__).parents[1]
NAME, IMAGE, SPACE = "bench-autoscale", "tiphys-demo-web:1", "tph-bench-load"
_OURS, _THEIRS = "198.18.255.1", "198.18.255.2"
Json = dict[str, Any]


@dataclass
class Sample:
    """`pods` are ready; `there` also counts those that are not yet."""

    at: float
    answered: int
    failed: int
    pods: int
    there: int
    nodes: int


@dataclass
class Run:
    began: float = field(default_factory=time.perf_counter)
    samples: list[Sample] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)

    @property
    def now(self) -> float:
        return time.perf_counter() - self.began

    def mark(self, what: str) -> None:
        self.marks.append((self.now, what))
        print(f"{self.now:6.1f} s  {what}", flush=True)


class Load:
    """A child in the namespace: it is told a rate, and tells what was answered and what failed."""

    def __init__(self, url: str) -> None:
        self.answered, self.failed = 0, 0
        self.times: list[float] = []
        words = ["ip", "netns", "exec", SPACE, sys.executable, str(Path(__file__)), "--load", url]
        self._child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def set(self, rate: float) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(f"{rate}\n")
        self._child.stdin.flush()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            took, error = json.loads(line)
            if error:
                self.failed += 1
                print(f"failed: {error}", flush=True)
            else:
                self.answered += 1
                self.times.append(took)

    def stop(self) -> None:
        self._child.kill()
        self._child.wait()


async def load(url: str) -> None:
    """In the namespace: ask at the rate that was told last, however long answers take."""
    import aiohttp

    rate, loop = 0.0, asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    told = asyncio.ensure_future(reader.readline())
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as session:

        async def one() -> None:
            began = time.perf_counter()
            try:
                async with session.get(url) as answer:
                    body = await answer.read()
                    error = "" if answer.status == 200 and b"done" in body else f"{answer.status} {body[:80]!r}"
            except (aiohttp.ClientError, TimeoutError) as failure:
                error = f"{type(failure).__name__}: {failure}"
            print(json.dumps([time.perf_counter() - began, error]), flush=True)

        under_way: set[asyncio.Task[None]] = set()
        while True:
            await asyncio.wait([told], timeout=1 / rate if rate > 0 else None)
            if told.done():
                line = told.result()
                if not line:
                    return
                rate = float(line)
                if rate < 0:
                    # Once.
                    rate = 0.0
                    under_way.add(asyncio.create_task(one()))
                told = asyncio.ensure_future(reader.readline())
                continue
            task = asyncio.create_task(one())
            under_way.add(task)
            task.add_done_callback(under_way.discard)


def sh(*words: str, check: bool = True) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=check).stdout


def outside(name: str = SPACE) -> None:
    """A namespace beside the cluster's, with a link to the machine."""
    leave()
    sh("ip", "netns", "add", name)
    sh("ip", "link", "add", "tph-bench0", "type", "veth", "peer", "name", "eth0", "netns", name)
    sh("ip", "addr", "add", f"{_OURS}/30", "dev", "tph-bench0")
    sh("ip", "link", "set", "tph-bench0", "up")
    sh("ip", "-n", name, "addr", "add", f"{_THEIRS}/30", "dev", "eth0")
    sh("ip", "-n", name, "link", "set", "eth0", "up")
    sh("ip", "-n", name, "link", "set", "lo", "up")
    sh("ip", "-n", name, "route", "add", "default", "via", _OURS)


def leave() -> None:
    sh("ip", "link", "del", "tph-bench0", check=False)
    sh("ip", "netns", "del", SPACE, check=False)


def app(cluster: RealCluster, request: str) -> str:
    """Deploy the demo app with one pod that requests so much CPU, and a node port; the URL of its page `work`."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        shutil.copytree(ROOT / "demo" / "web", path, dirs_exist_ok=True)
        shutil.copy("/bin/busybox", path / "busybox")
        cluster.tiphys("image", "build", "-t", IMAGE, str(path), "--cluster", cluster.name)
    deployment, service = yaml.safe_load_all((ROOT / "demo" / "web.yaml").read_text())
    deployment["spec"]["replicas"] = 1
    deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = request
    service["spec"]["type"] = "NodePort"
    both = {"apiVersion": "v1", "kind": "List", "items": [deployment, service]}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(both))
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    port = cluster.get("service", "web")["spec"]["ports"][0]["nodePort"]
    return f"http://{_OURS}:{port}/cgi-bin/work"


def autoscaler(cluster: RealCluster, target: int, most: int) -> None:
    metric = {"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": target},
    }}  # fmt: skip
    body = {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": most, "metrics": [metric],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 15}},
        },
    }  # fmt: skip
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def is_leaving(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def watch(cluster: RealCluster, load_: Load, run: Run, stop: threading.Event) -> None:
    while not stop.wait(0.5):
        pods = [pod for pod in cluster.get("pods", "-l", "app=web")["items"] if not is_leaving(pod)]
        ready, nodes = sum(map(is_ready, pods)), len(cluster.get("nodes")["items"])
        run.samples.append(Sample(run.now, load_.answered, load_.failed, ready, len(pods), nodes))


def until(run: Run, seconds: float, holds: Any) -> float:
    """Seconds until the last sample is as wanted."""
    began = run.now
    while not (run.samples and run.samples[-1].at > began and holds(run.samples[-1])):
        if run.now - began > seconds:
            raise SystemExit(f"not in {seconds:.0f} s; the last: {run.samples[-1:]}")
        time.sleep(0.1)
    return run.now - began


def picture(run: Run, path: Path) -> None:
    """Three bands over time: requests answered a second, pods, nodes."""
    width, band, left, gap = 900, 110, 60, 34
    end = run.samples[-1].at
    pairs = list(zip(run.samples, run.samples[1:], strict=False))
    answered = [(b.at, (b.answered - a.answered) / max(b.at - a.at, 0.1)) for a, b in pairs]
    smooth = [
        (at, statistics.fmean(v for _, v in answered[max(0, i - 3) : i + 4])) for i, (at, _) in enumerate(answered)
    ]  # fmt: skip
    bands = [
        ("requests/s", "#3b6fb6", smooth),
        ("pods", "#3d8f5f", [(s.at, float(s.pods)) for s in run.samples]),
        ("nodes", "#b0662b", [(s.at, float(s.nodes)) for s in run.samples]),
    ]
    height = len(bands) * (band + gap) + 50

    def x(at: float) -> float:
        return left + at / end * (width - left - 20)

    font = 'font-family="sans-serif" font-size="11"'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {font}>']
    out.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for index, (name, colour, points) in enumerate(bands):
        top = 20 + index * (band + gap)
        most = max([value for _, value in points] + [1.0])
        line = " ".join(f"{x(at):.1f},{top + band - value / most * band:.1f}" for at, value in points)
        out.append(f'<line x1="{left}" y1="{top + band}" x2="{width - 20}" y2="{top + band}" stroke="#ccc"/>')
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        out.append(f'<text x="4" y="{top + 10}" fill="{colour}">{name}</text>')
        out.append(f'<text x="{left - 6}" y="{top + 10}" text-anchor="end" dx="0" dy="12">{most:.0f}</text>')
    for number, (at, what) in enumerate(run.marks):
        out.append(
            f'<line x1="{x(at):.1f}" y1="12" x2="{x(at):.1f}" y2="{height - 40}" stroke="#999"/>'
            f'<text x="{x(at) + 3:.1f}" y="{height - 26 + 12 * (number % 2)}" fill="#444">{what}</text>'
        )
    for tick in range(0, int(end) + 1, 30):
        out.append(f'<text x="{x(tick):.1f}" y="{height - 2}" text-anchor="middle" fill="#888">{tick} s</text>')
    out.append("</svg>")
    path.write_text("\n".join(out) + "\n")


def story(cluster: RealCluster, load_: Load, run: Run, options: argparse.Namespace) -> None:
    load_.set(options.rate)
    run.mark("load")
    until(run, 60, lambda sample: sample.pods == 1)
    time.sleep(25)
    calm = cluster.get("nodes")["items"]
    load_.set(options.rate * 5)
    run.mark("five times as much")
    took = until(run, 120, lambda sample: sample.pods >= options.right)
    nodes = len(cluster.get("nodes")["items"])
    print(f"at the right size ({options.right} pods, {nodes} nodes, from {len(calm)}) after {took:.1f} s")
    time.sleep(30)
    load_.set(0)
    run.mark("no load")
    took = until(run, 240, lambda sample: sample.there == 0)
    print(f"no pods after {took:.1f} s")
    took = until(run, 240, lambda sample: sample.nodes == 1)
    print(f"one node after {took:.1f} s more")
    while cluster.get("pods", "-l", "app=web")["items"]:
        time.sleep(0.5)
    before = len(load_.times)
    load_.set(-1)
    run.mark("one request")
    while len(load_.times) == before and not load_.failed:
        time.sleep(0.01)
    print(f"first answer from zero after {load_.times[-1]:.2f} s")
    time.sleep(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second at first")
    parser.add_argument("--request", default="600m", help="CPU that a pod requests")
    parser.add_argument("--target", type=int, default=23, help="utilisation in percent")
    parser.add_argument("--right", type=int, default=4, help="pods that five times the load needs")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "autoscaling.svg")
    options = parser.parse_args()
    if options.load:
        asyncio.run(load(options.load))
        return
    subprocess.run([TIPHYS, "up", NAME, "--max-nodes", "3", "--scale-down-after", "10"], check=True)
    cluster, stop, run = RealCluster(NAME, Path(f"/etc/tiphys/{NAME}.kubeconfig")), threading.Event(), Run()
    watcher = load_ = None
    try:
        outside()
        url = app(cluster, options.request)
        autoscaler(cluster, options.target, 6)
        cluster.kubectl("annotate", "service", "web", "tiphys.dev/scale-to-zero-after=20s")
        load_ = Load(url)
        watcher = threading.Thread(target=watch, args=(cluster, load_, run, stop))
        watcher.start()
        spent = cpu(cluster.pid("server"))
        story(cluster, load_, run, options)
        spent = cpu(cluster.pid("server")) - spent
        print(f"{load_.answered} requests answered, {load_.failed} failed;", end=" ")
        print(f"median {statistics.median(load_.times) * 1e3:.0f} ms; the server used {spent:.1f} s of CPU")
        picture(run, options.picture)
    finally:
        stop.set()
        if watcher is not None:
            watcher.join()
        if load_ is not None:
            load_.stop()
        leave()
        subprocess.run([TIPHYS, "down", NAME, "--purge"], check=True)


if __name__ == "__main__":
    main()
