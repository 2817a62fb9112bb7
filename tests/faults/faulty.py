"""A cluster that is to suffer: three control planes, two workers with a web app on them, load and visits from aside.

Faults meet control planes only, as machines; the clients' network is that of the last worker, the visitor's that of a
pod on it, so that what they see is not the loss of their own machine.
"""

from __future__ import annotations

import secrets
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import yaml
from history import History
from load import NAMESPACE, Plan
from real_cluster import IMAGE, RealCluster, build_image, until

from tiphys.main.cluster import Cluster

NODES, PLANES = 5, 3
_HERE = Path(__file__).parent
_END_SECONDS = 60.0


@dataclass
class Load:
    history: History = field(default_factory=History)


@dataclass
class Visits:
    answers: int = 0
    failures: list[str] = field(default_factory=list)


class Faulty:
    def __init__(self, cluster: RealCluster) -> None:
        self.cluster = cluster
        self._settings = Cluster(cluster.name).settings()

    def prepare(self, scratch: Path) -> None:
        """The web app and the visitor's pod, on workers."""
        build_image(self.cluster, scratch)
        workers = [f"{self.cluster.name}-{number}" for number in range(PLANES + 1, NODES + 1)]
        self.cluster.kubectl("create", "namespace", NAMESPACE)
        self.cluster.kubectl("apply", "-f", "-", stdin=_app(workers))
        self.cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        self.cluster.kubectl("wait", "--for=condition=Ready", "pod/visitor", "--timeout=60s")

    @property
    def pki(self) -> str:
        return str(Cluster(self.cluster.name).pki)

    @property
    def virtual(self) -> str:
        """The URL of the virtual address."""
        return self._settings.server_url

    @property
    def urls(self) -> list[str]:
        return [f"https://{self._settings.underlay[plane]}:{self._settings.api_port}" for plane in range(1, PLANES + 1)]

    @contextmanager
    def load(self, seed: int, clients: int = 8, rate: float = 12.0) -> Iterator[Load]:
        """Clients at work; the history is in it after the context. Every fourth one knows the virtual address only."""
        turns = [_turned(self.urls, number) for number in range(clients)]
        turns[::4] = [[self.virtual]] * len(turns[::4])
        with tempfile.TemporaryDirectory() as scratch:
            result = Path(scratch) / "history.json"
            plan = Plan(
                pki=self.pki, clients=turns,
                watchers=[_turned(self.urls, number) for number in range(PLANES)],
                run=secrets.token_hex(3), keys=12, rate=rate, seed=seed, result=str(result),
            )  # fmt: skip
            words = [str(_HERE / "load.py"), msgspec.json.encode(plan).decode()]
            load = Load()
            with running(self.on_worker(words)):
                yield load
            load.history = msgspec.json.decode(result.read_bytes(), type=History)

    @contextmanager
    def visited(self, pause: float = 0.02) -> Iterator[Visits]:
        address = self.cluster.get("service", "web")["spec"]["clusterIP"]
        visits, said = Visits(), []
        with running(self._in_pod("visitor", [str(_HERE / "visitor.py"), address, str(pause)]), said):
            yield visits
        visits.answers, visits.failures = int(said[0]), said[1:]

    def on_worker(self, words: Sequence[str]) -> list[str]:
        return ["ip", "netns", "exec", f"tiphys-{self.cluster.name}-{NODES}", sys.executable, *words]

    def _in_pod(self, pod: str, words: Sequence[str]) -> list[str]:
        uid = self.cluster.get("pod", pod)["metadata"]["uid"]
        place = f"tiphys-{self.cluster.name}"
        files = list(Path("/sys/fs/cgroup").glob(f"**/{place}/**/pod{uid}/*/cgroup.procs"))
        pids = [pid for file in files for pid in file.read_text().split()]
        return ["nsenter", f"--net=/proc/{pids[0]}/ns/net", sys.executable, *words]


def _turned(urls: Sequence[str], by: int) -> list[str]:
    by %= len(urls)
    return [*urls[by:], *urls[:by]]


@contextmanager
def running(command: Sequence[str], said: list[str] | None = None) -> Iterator[None]:
    """A process that says "ready", works, and says its last words when it is told to stop."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        select.select([process.stdout], [], [], _END_SECONDS)
        assert process.poll() is None
        assert process.stdout.readline() == "ready\n"
        yield
        process.send_signal(signal.SIGTERM)
        words = process.communicate(timeout=_END_SECONDS)[0]
        assert process.returncode == 0
        if said is not None:
            said += words.splitlines()
    finally:
        process.kill()
        process.wait()


def _app(workers: Sequence[str]) -> str:
    """Three pods behind a Service, and the visitor's own."""
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(workers)}]}
    ]}}}  # fmt: skip
    container = {
        "name": "web", "image": IMAGE, "ports": [{"name": "http", "containerPort": 80}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }  # fmt: skip
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], "affinity": affinity}}
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    visitor = {"nodeName": workers[-1], "terminationGracePeriodSeconds": 0, "containers": [
        {"name": "visitor", "image": IMAGE, "command": ["sleep", "1000000"]}
    ]}  # fmt: skip
    service = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    return yaml.safe_dump_all([
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "visitor"}, "spec": visitor},
    ])  # fmt: skip


def ready(cluster: RealCluster) -> None:
    """Wait until every control plane is among the API servers."""
    until(lambda: len(cluster.get("endpoints", "kubernetes")["subsets"][0]["addresses"]) == PLANES, "all servers")


__all__ = ["Faulty", "Load", "Visits", "ready", "running"]
