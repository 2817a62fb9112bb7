"""The member of etcd that a control plane runs: found with others, joined to them, kept running, opened as a store.

It is the distribution's `etcd-server`, 3.4 or newer, behind a CA of its own: only our servers' certificate opens it. It
outlives the server as containers do, and the next server adopts it. How a member comes into being stands in a plan:
"new" members begin a cluster together, one that shall "join" asks a member that is there, as a learner without a vote.
Source: https://etcd.io/docs/v3.4/op-guide/configuration/ and https://etcd.io/docs/v3.4/learning/design-learner/
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import msgspec

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.main.cluster import ClusterError, write_private
from tiphys.main.node_settings import NodeSettings
from tiphys.main.pki import Leaf, Leaves, Pki

if TYPE_CHECKING:
    from tiphys.node.process import Identity
    from tiphys.store.etcd import EtcdStore
    from tiphys.store.etcd_members import EtcdMembers, Member

_log = Log("etcd")
T = TypeVar("T")
CA, SERVER, CLIENT = "etcd-ca", "etcd-server", "etcd-client"
_START_SECONDS, _JOIN_SECONDS = 30.0, 60.0
_QUOTA = 8 * 2**30
# Milliseconds. Half of etcd's own, so that a new leader is there within about a second.
_HEARTBEAT, _ELECTION = 100, 600
_PROBE, _RESTART = Backoff(0.02, 0.5), Backoff(0.2, 10.0)
_STABLE_SECONDS = 60.0


class Plan(msgspec.Struct, frozen=True):
    """How far a member is: new or join (nothing done yet), added (to those that run), member (it has been one).

    `members` are peer URLs by name, of whom is known.
    """

    state: str
    members: dict[str, str]


def leaves(addresses: Sequence[str]) -> Leaves:
    """Of a CA of their own: whoever may talk to the API may not talk to its store."""
    names = list(dict.fromkeys(["127.0.0.1", "localhost", *addresses]))
    return {SERVER: Leaf("etcd", names=names), CLIENT: Leaf("tiphys-server")}


def peer_url(node: NodeSettings) -> str:
    return f"https://{node.address}:{node.etcd_port + 1}"


def data(node: NodeSettings) -> Path:
    return node.state / "etcd"


def _plan_file(node: NodeSettings) -> Path:
    return node.state / "etcd.json"


def plan(nodes: Sequence[NodeSettings]) -> None:
    """Say how the members of control planes that have none yet come into being, given all control planes we know."""
    missing = [node for node in nodes if not data(node).exists() and not _plan_file(node).exists()]
    members = {node.name: peer_url(node) for node in nodes}
    state = "new" if len(missing) == len(nodes) else "join"
    for node in missing:
        write_plan(node, Plan(state, members))


def join_through(node: NodeSettings, servers: Sequence[str]) -> None:
    """Say that the member of a new control plane joins those of the API servers at these URLs."""
    hosts = [urlsplit(url).hostname for url in servers]
    write_plan(node, Plan("join", {f"{host}": f"https://{host}:{node.etcd_port + 1}" for host in hosts}))


def write_plan(node: NodeSettings, wanted: Plan) -> None:
    node.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(_plan_file(node), msgspec.json.encode(wanted))


def forget(node: NodeSettings) -> None:
    """Remove what a member was; the next one of this node joins anew."""
    shutil.rmtree(data(node), ignore_errors=True)
    _plan_file(node).unlink(missing_ok=True)


def _tls(pki: Pki) -> ssl.SSLContext:
    tls = pki.client_tls(CLIENT, CA)
    # What gRPC speaks, and its library insists on.
    tls.set_alpn_protocols(["h2"])
    return tls


class Etcd:
    """The member of one control plane. `start`, `enter`, then `keep` for ever."""

    def __init__(self, node: NodeSettings, clock: Clock) -> None:
        self._node, self._clock = node, clock
        self._pki = Pki(node.pki)
        self._identity: Identity | None = None
        self._store: EtcdStore | None = None

    @property
    def _plan(self) -> Plan:
        try:
            found = msgspec.json.decode(_plan_file(self._node).read_bytes(), type=Plan)
        except FileNotFoundError:
            return Plan("new", {self._node.name: peer_url(self._node)})
        if found.state == "member" and not data(self._node).exists():
            # Its votes are forgotten, so it must not go on as the same member.
            return Plan("join", found.members)
        return found

    @property
    def endpoints(self) -> list[str]:
        """HOST:PORT of each member that is known, our own first."""
        others = [url for name, url in self._plan.members.items() if name != self._node.name]
        return [
            f"127.0.0.1:{self._node.etcd_port}",
            *(f"{urlsplit(u).hostname}:{self._node.etcd_port}" for u in others),
        ]

    def members(self, endpoints: Sequence[str] = ()) -> EtcdMembers:
        from tiphys.store.etcd_members import EtcdMembers

        return EtcdMembers(endpoints or self.endpoints, _tls(self._pki))

    def start(self) -> None:
        """Adopt or start it, unless it has to join first."""
        from tiphys.node import process

        pidfile = self._node.pidfile("etcd")
        self._identity = process.load(pidfile)
        if self._identity is None and self._plan.state != "join":
            pidfile.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            self._identity = process.spawn(self._command(), self._node.log("etcd"))
            self._identity.save(pidfile)

    async def enter(self) -> None:
        """Be a member with a vote, if the cluster was there before. Raises ClusterError."""
        if len(self.endpoints) == 1:
            if self._plan.state == "join":
                raise ClusterError(f"the data of etcd is gone from {data(self._node)}; `tiphys restore` a backup")
            return
        if self._plan.state == "new":
            return
        if self._plan.state == "join":
            await self._until(_JOIN_SECONDS, "could not be joined", self._join)
            self.start()
        await self._until(_JOIN_SECONDS, "did not catch up with the others", self._promote)

    async def _join(self) -> bool:
        from tiphys.store.protocol import Unavailable

        async with self.members(self.endpoints[1:]) as members:
            known = await members.members()
            for member in known:
                if member.name == self._node.name or member.peer == peer_url(self._node):
                    # One of our name, whose data is gone: it can never come back.
                    await members.remove(member.id)
            if any(member.learner for member in await members.members()):
                raise Unavailable("another member is just joining")
            await members.add(peer_url(self._node))
            there = {member.name: member.peer for member in await members.members() if member.name}
        write_plan(self._node, Plan("added", {**there, self._node.name: peer_url(self._node)}))
        return True

    async def _promote(self) -> bool:
        async with self.members(self.endpoints[1:]) as members:
            own = [member for member in await members.members() if member.peer == peer_url(self._node)]
            if not own:
                raise ClusterError(
                    f"node {self._node.name} was removed from etcd; `tiphys node forget` on it, then join it again"
                )
            return not own[0].learner or await members.promote(own[0].id)

    async def remove(self, name: str) -> None:
        """Take the member of that name out, if there is one. Raises ClusterError where no majority would be left."""

        async def attempt() -> bool:
            async with self.members() as members:
                known = await members.members()
                own = [member for member in known if member.name == name]
                if own:
                    await self._check_majority(members, [member for member in known if member.name != name], name)
                    await members.remove(own[0].id)
            return True

        # For some seconds after it lost a member, etcd refuses to lose another.
        await self._until(_JOIN_SECONDS, f"did not let {name} go", attempt)

    @staticmethod
    async def _check_majority(members: EtcdMembers, others: Sequence[Member], name: str) -> None:
        from tiphys.store.protocol import Unavailable

        voters = [member for member in others if not member.learner]
        alive = 0
        for member in voters:
            with suppress(Unavailable):
                await members.health(member.endpoint)
                alive += 1
        if alive <= len(voters) // 2:
            raise ClusterError(
                f"without {name}, {alive} of {len(voters)} members of etcd would be alive, which is no majority; "
                "bring another one back first"
            )

    async def keep(self) -> None:
        """Start it again whenever it ends. Runs until cancelled."""
        failures = 0
        while True:
            if self._identity is None:
                await asyncio.to_thread(self.start)
            began = self._clock.monotonic()
            if self._identity is not None:
                await self._identity.wait()
            failures = 0 if self._clock.monotonic() - began > _STABLE_SECONDS else failures + 1
            _log.warning("etcd ended, starting it again", log=str(self._node.log("etcd")))
            await self._clock.sleep(_RESTART.delay(failures))
            self._identity = None

    async def open_store(self) -> EtcdStore:
        """Connect, once it answers. Raises ClusterError if that takes too long."""
        from tiphys.store.etcd import EtcdStore

        tls = _tls(self._pki)
        store = await self._until(_START_SECONDS, "did not answer", lambda: EtcdStore.open(self.endpoints, tls))
        self._store = store
        wanted = Plan("member", self._plan.members)
        if self._plan != wanted:
            write_plan(self._node, wanted)
        return store

    async def care(self) -> None:
        """Look after the whole cluster of etcd, for ever; only one server does."""
        from tiphys.store.etcd_care import EtcdCare

        if self._store is None:
            raise RuntimeError("the store is not open")
        async with self.members() as members:
            await EtcdCare(self._store, members, self._clock).run()

    async def _until(self, seconds: float, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` gives once it neither fails nor gives False."""
        from tiphys.store.protocol import Unavailable

        failures, last = 0, ""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        if found := await attempt():
                            return found
                    except Unavailable as error:
                        last = error.reason
                    await self._clock.sleep(_PROBE.delay(failures))
                    failures += 1
        except TimeoutError:
            raise ClusterError(
                f"etcd of {self._node.name} {what} in {seconds:.0f} s ({last}); see {self._node.log('etcd')}"
            ) from None

    def _command(self) -> list[str]:
        node, pki, wanted = self._node, self._pki, self._plan
        listen = dict.fromkeys(["127.0.0.1", node.address])
        client = ",".join(f"https://{address}:{node.etcd_port}" for address in listen)
        peer = peer_url(node)
        files = {
            "cert-file": pki.certificate(SERVER), "key-file": pki.key(SERVER), "trusted-ca-file": pki.certificate(CA),
            "peer-cert-file": pki.certificate(SERVER), "peer-key-file": pki.key(SERVER),
            "peer-trusted-ca-file": pki.certificate(CA),
        }  # fmt: skip
        return [
            "etcd", "--name", node.name, "--data-dir", str(data(node)),
            "--listen-client-urls", client, "--advertise-client-urls", f"https://{node.address}:{node.etcd_port}",
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", ",".join(f"{name}={url}" for name, url in wanted.members.items()),
            "--initial-cluster-state", "new" if wanted.state == "new" else "existing",
            "--initial-cluster-token", node.cluster,
            # One that was cut off does not unseat the leader when it comes back.
            "--heartbeat-interval", str(_HEARTBEAT), "--election-timeout", str(_ELECTION), "--pre-vote",
            "--client-cert-auth", "--peer-client-cert-auth", *(f"--{flag}={path}" for flag, path in files.items()),
            "--logger", "zap", "--log-level", "warn", "--quota-backend-bytes", str(_QUOTA),
        ]  # fmt: skip
