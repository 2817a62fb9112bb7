"""Faults of a cluster whose machines are namespaces: each is a context, in which it lasts.

Processes are killed, stopped or ended; a control plane loses all of its processes; nodes are cut off from all others by
nftables, both ways or one way, ARP too. `mend` starts what does not run.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress

from history import Fault
from real_cluster import RealCluster, until

PLANES = (1, 2, 3)
ROLES = ("server", "etcd", "agent", "containerd")
_TABLE = "tiphys-fault"


class Nemesis:
    """`lasting`: for at least and at most how many seconds a fault lasts."""

    def __init__(self, cluster: RealCluster, seed: int, lasting: tuple[float, float] = (2.0, 4.0)) -> None:
        self._cluster, self._rng, self._lasting = cluster, random.Random(seed), lasting
        self.done: list[Fault] = []

    def mend(self) -> None:
        self._cluster.tiphys("up", self._cluster.name)

    def leader(self) -> int:
        """The number of the control plane that leads, once one does."""
        words = ["get", "-n", "kube-system", "lease", "kube-controller-manager", "-o=jsonpath=>{.spec.holderIdentity}"]
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
        time.sleep(1.0)


def _chain(way: str, link: str) -> str:
    hook, field = ("input", "iifname") if way == "in" else ("output", "oifname")
    return f'chain {way} {{\n type filter hook {hook} priority -300\n {field} "{link}" drop\n}}\n'
