"""Faults of a cluster whose machines are namespaces: each is a context, in which it lasts.

Processes are killed, stopped or ended; a control plane loses all of its processes; nodes are cut off from all others by
nftables, both ways or one way, ARP too. `mend` starts what does not run.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress

from figures import Fault
from real_cluster import RealCluster, until

PLANES = (1, 2, 3)
ROLES = ("server", "etcd", "agent", "containerd")
_TABLE = "tiphys-fault"
# Two segments of a write-ahead log, which etcd allocates beforehand, and some more.
_DISK = "160M"


class Nemesis:
    """`lasting`: for at least and at most how many seconds a fault lasts."""

    def __init__(self, cluster: RealCluster, seed: int, lasting: tuple[float, float] = (1.5, 3.0)) -> None:
        self._cluster, self._rng, self._lasting = cluster, random.Random(seed), lasting
        self.done: list[Fault] = []

    def mend(self) -> None:
        self._cluster.tiphys("up", self._cluster.name)

    def leader(self) -> int:
        """The number of the control plane that leads, once one does."""
        words = [
            "get",
            "-n=kube-system",
            "lease/kube-controller-manager",
            "-o=jsonpath=>{.spec.holderIdentity}",
            "--request-timeout=5s",
        ]
        said = until(lambda: self._cluster.kubectl(*words, check=False).partition(">")[2], "somebody leads")
        own, _, number = str(said).rpartition("-")
        return int(number) if own == self._cluster.name else 1

    def follower(self) -> int:
        return self._rng.choice([number for number in PLANES if number != self.leader()])

    def pid(self, role: str, number: int) -> int:
        place = f"nodes/{number}/" if number > 1 else ""
        return self._cluster.pid(f"{place}{'containerd/' if role == 'containerd' else ''}{role}")

    def signal(self, number: int, what: int, *roles: str) -> None:
        for role in roles:
            with suppress(ProcessLookupError):
                os.kill(self.pid(role, number), what)

    @contextmanager
    def killed(self, number: int, *roles: str) -> Iterator[None]:
        self.signal(number, signal.SIGKILL, *roles)
        yield
        self.mend()

    @contextmanager
    def without_majority(self) -> Iterator[int]:
        """Two of the three control planes are lost; the number of the one that is left."""
        first, second, left = self._rng.sample(PLANES, 3)
        for number in (first, second):
            self.signal(number, signal.SIGKILL, *ROLES)
        yield left
        self.mend()

    @contextmanager
    def ended(self, number: int, *roles: str) -> Iterator[None]:
        self.signal(number, signal.SIGTERM, *roles)
        yield
        self.mend()

    @contextmanager
    def stopped(self, number: int, *roles: str) -> Iterator[None]:
        pids = [self.pid(role, number) for role in roles]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        self.mend()

    @contextmanager
    def cut_off(self, number: int, *ways: str) -> Iterator[None]:
        """Of `in` and `out`, as the node sees it."""
        link = "eth0" if number > 1 else self._bridge()
        chains = "".join(_chain(way, link) for way in ways)
        self._nft(number, "".join(f"table {family} {_TABLE} {{\n{chains}}}\n" for family in ("inet", "arp")))
        try:
            yield
        finally:
            self._nft(number, "".join(f"delete table {family} {_TABLE}\n" for family in ("inet", "arp")))

    def _bridge(self) -> str:
        from tiphys.main.node_settings import link_name

        return link_name("b", self._cluster.name)

    def _nft(self, number: int, rules: str) -> None:
        inside = ["ip", "netns", "exec", f"tiphys-{self._cluster.name}-{number}"] if number > 1 else []
        subprocess.run([*inside, "nft", "-f", "-"], input=rules, text=True, check=True)

    @contextmanager
    def bad_fsync(self, number: int, *inject: str) -> Iterator[None]:
        """Have every fsync of a member of etcd fail or be slow, as strace's `inject` says, also when it begins anew."""
        over = threading.Event()
        tracing = threading.Thread(target=self._trace, args=(number, inject, over))
        tracing.start()
        try:
            yield
        finally:
            over.set()
            tracing.join()
        self.mend()

    def _trace(self, number: int, inject: Sequence[str], over: threading.Event) -> None:
        calls = "fsync,fdatasync"
        words = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={calls}",
            "-e",
            ":".join([f"inject={calls}", *inject]),
        ]
        tracer: subprocess.Popen[bytes] | None = None
        while not over.wait(0.05):
            if tracer is None or tracer.poll() is not None:
                tracer = subprocess.Popen([*words, "-p", str(self.pid("etcd", number))], stderr=subprocess.DEVNULL)
        if tracer is not None:
            tracer.terminate()
            tracer.wait()

    @contextmanager
    def full_disk(self, number: int) -> Iterator[None]:
        """Let the member of a control plane that is a namespace write to a small disk of its own, and fill that."""
        data = f"/var/lib/tiphys/{self._cluster.name}/nodes/{number}/etcd"
        self.signal(number, signal.SIGKILL, "server", "etcd")
        self._inside(number, "cp", "-a", data, f"{data}.kept")
        self._inside(number, "mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", data)
        try:
            self._inside(number, "cp", "-a", f"{data}.kept/.", data)
            self.mend()
            self._inside(number, "dd", "if=/dev/zero", f"of={data}/filler", "bs=64K", check=False)
            yield
            self._inside(number, "rm", f"{data}/filler")
            self.mend()
        finally:
            self.signal(number, signal.SIGKILL, "server", "etcd")
            self._inside(
                number,
                "sh",
                "-c",
                f"cp -a {data} {data}.new && umount {data} && rm -r {data} {data}.kept && mv {data}.new {data}",
            )
            self.mend()

    def _inside(self, number: int, *words: str, check: bool = True) -> None:
        """Run a command in the mounts of a node that is a namespace."""
        mounts = f"/run/tiphys/{self._cluster.name}/nodes/{number}/ns/mnt"
        subprocess.run(["nsenter", f"--mount={mounts}", *words], check=check, stderr=subprocess.DEVNULL)

    def faults(self) -> dict[str, Callable[[], AbstractContextManager[None]]]:
        """Every fault by name; whom it meets is found out or drawn when it is called."""
        rng = self._rng
        found: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "kill -9 the leading server": lambda: self.killed(self.leader(), "server"),
            "stop the leading server": lambda: self.stopped(self.leader(), "server"),
            "lose the leading control plane": lambda: self.killed(self.leader(), *ROLES),
            "lose another control plane": lambda: self.killed(self.follower(), *ROLES),
            "cut off the leader": lambda: self.cut_off(self.leader(), "in", "out"),
            "cut off a minority": lambda: self.cut_off(self.follower(), "in", "out"),
            "the leader hears nobody": lambda: self.cut_off(self.leader(), "in"),
            "fsync fails": lambda: self.bad_fsync(rng.choice(PLANES), "error=EIO"),
            "fsync takes a second": lambda: self.bad_fsync(rng.choice(PLANES), "delay_enter=1000000"),
            "the disk is full": lambda: self.full_disk(rng.choice(PLANES[1:])),
            "nobody hears the leader": lambda: self.cut_off(self.leader(), "out"),
        }
        for role in ROLES:
            found[f"kill -9 {role}"] = lambda role=role: self.killed(rng.choice(PLANES), role)
            found[f"stop {role}"] = lambda role=role: self.stopped(rng.choice(PLANES), role)
            found[f"restart {role}"] = lambda role=role: self.ended(rng.choice(PLANES), role)
        return found

    def run(self, names: Sequence[str], rounds: int = 1) -> None:
        """Each of these faults, in an order that the seed gives."""
        faults = self.faults()
        for _ in range(rounds):
            for name in self._rng.sample(list(names), len(names)):
                self.one(name, faults[name])

    def one(self, name: str, fault: Callable[[], AbstractContextManager[None]]) -> None:
        begun = time.monotonic()
        with fault():
            time.sleep(self._rng.uniform(*self._lasting))
        self.done.append(Fault(name, begun, time.monotonic()))
        # Some time in which all is well, so that what the next one does is its own.
        time.sleep(0.5)


def _chain(way: str, link: str) -> str:
    hook, field = ("input", "iifname") if way == "in" else ("output", "oifname")
    return f'chain {way} {{\n type filter hook {hook} priority -300\n {field} "{link}" drop\n}}\n'
