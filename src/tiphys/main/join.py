"""Makes a machine a node of a cluster elsewhere, or one more of its control planes: `tiphys agent --server`, `--join`.

A machine that has joined goes on with what it has, without asking anybody. One that was interrupted goes on from where
it was. Nothing is written before the cluster is known to be the one that the token is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tiphys.api.errors import Forbidden, NotFound
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.transport import Transport
from tiphys.kinds.core.node import NODES, Node
from tiphys.main.certificate_request import PATIENCE, signed
from tiphys.main.cluster import Cluster, ClusterError, write_private
from tiphys.main.cluster_facts import ClusterFacts, read_cluster
from tiphys.main.discovery import Trust
from tiphys.main.introduction import introduced, itself
from tiphys.main.leaf import Leaf, fits, pins_of
from tiphys.main.pki import Pki, load_key
from tiphys.main.token import JoinToken, parse

_log = Log("join")
AGENT, KUBELET = "agent", "kubelet"
_EXPIRED = (
    "the certificate of node {name!r} does not hold any more: it has expired, or another CA has taken over, while this "
    "machine was away; `tiphys token create` on a control plane prints the command with which it joins again, as it is"
)
_MACHINE_ID, _PRODUCT_UUID = Path("/etc/machine-id"), Path("/sys/class/dmi/id/product_uuid")


class Joined(msgspec.Struct, frozen=True):
    """A machine's place in a cluster. Its certificates are AGENT and KUBELET in `Pki(cluster.pki)`."""

    name: str
    address: str
    facts: ClusterFacts
    control_plane: bool = False


@dataclass(frozen=True, slots=True)
class _Invitation:
    url: str
    token: str
    clock: Clock
    patience: float


@dataclass(frozen=True, slots=True)
class _Machine:
    name: str
    address: str

    @property
    def client(self) -> Leaf:
        return Leaf(f"system:node:{self.name}", ["system:nodes"])

    @property
    def serving(self) -> Leaf:
        return Leaf(f"system:node:{self.name}", ["system:nodes"], [self.name, self.address])


async def join_worker(
    server_url: str,
    token: str,
    cluster: Cluster,
    *,
    name: str,
    address: str,
    clock: Clock | None = None,
    patience: float = PATIENCE,
) -> Joined:
    """Get this machine certificates as node `name`, reachable at `address`, and learn what the cluster is.

    `patience` is how long people may take to approve, seconds. Raises ClusterError, whose message says what to do.
    """
    clock = clock or SystemClock()
    machine, pki, known = _Machine(name, address), Pki(cluster.pki), joined(cluster)
    invitation = _Invitation(server_url, token, clock, patience)
    client_alive = _alive(pki, AGENT, clock)
    if known is not None:
        _check_same(cluster, known, machine)
        if client_alive and _alive(pki, KUBELET, clock):
            return await _follow_ca(cluster, known, machine, invitation)
        if not client_alive and not token:
            raise ClusterError(_EXPIRED.format(name=name))
    return await _enter(cluster, machine, invitation, anew=not client_alive)


def check(cluster: Cluster, clock: Clock | None = None) -> None:
    """Raises ClusterError where this machine has joined as a node, and its certificate does not hold any more."""
    known = joined(cluster)
    if known is not None and not known.control_plane and not _alive(Pki(cluster.pki), AGENT, clock or SystemClock()):
        raise ClusterError(_EXPIRED.format(name=known.name))


async def _follow_ca(cluster: Cluster, known: Joined, machine: _Machine, invitation: _Invitation) -> Joined:
    """Join anew where the token shows that another CA has taken over, which this machine has slept through."""
    try:
        if not invitation.token or parse(invitation.token).pin in pins_of(Pki(cluster.pki).ca.read_bytes()):
            return known
        return await _enter(cluster, machine, invitation, anew=True)
    except ClusterError as error:
        # It may as well be the token that is old.
        _log.info("goes on with the certificates that it has", node=known.name, why=str(error))
        return known


async def _enter(cluster: Cluster, machine: _Machine, invitation: _Invitation, *, anew: bool) -> Joined:
    """Get what is missing; with `anew` also what is there, beginning with the CA."""
    pki, patience = Pki(cluster.pki), invitation.patience
    if anew:
        async with introduced(invitation.url, invitation.token, invitation.clock) as (transport, trust):
            client = Client(transport, manager="kubelet")
            await _check_name(client, machine)
            # So that a cluster which cannot be joined is known before anything is written.
            await read_cluster(transport)
            _prepare(cluster, trust)
            await _obtain(client, pki, AGENT, machine.client, patience)
    async with itself(invitation.url, pki, AGENT) as transport:
        facts = await read_cluster(transport)
        if not _alive(pki, KUBELET, invitation.clock):
            await _obtain(Client(transport, manager="kubelet"), pki, KUBELET, machine.serving, patience)
    return _done(cluster, Joined(machine.name, machine.address, facts))


async def join_control_plane(
    server_url: str,
    token: str,
    cluster: Cluster,
    *,
    name: str,
    address: str,
    clock: Clock | None = None,
    enter: Callable[[ClusterFacts], Awaitable[None]] | None = None,
) -> Joined:
    """Get this machine the cluster's CAs, with which it makes its own certificates, and what the cluster is.

    `enter(facts)` is called once the keys are here, before the machine counts as joined: what a member of the store
    needs is its business. Raises ClusterError.
    """
    clock = clock or SystemClock()
    machine = _Machine(name, address)
    known = joined(cluster)
    if known is not None:
        _check_same(cluster, known, machine)
        return known
    async with introduced(server_url, token, clock) as (transport, trust):
        facts = await read_cluster(transport)
        if facts.store != "etcd":
            raise ClusterError(
                f"cluster {facts.name!r} keeps its state in {facts.store}, which one control plane only can have; on "
                f"its server, `tiphys store migrate {facts.name} --to etcd` first"
            )
        await _check_name(Client(transport, manager="kubelet"), machine)
        files = await _bundle(transport, parse(token))
        _prepare(cluster, trust)
        for file, data in sorted(files.items()):
            write_private(cluster.pki / Path(file).name, data)
    if enter is not None:
        await enter(facts)
    return _done(cluster, Joined(name, address, facts, control_plane=True))


def joined(cluster: Cluster) -> Joined | None:
    """What this machine is in a cluster elsewhere; None for one that has not joined."""
    try:
        return msgspec.json.decode((cluster.state / "joined.json").read_bytes(), type=Joined)
    except FileNotFoundError:
        return None


def _done(cluster: Cluster, result: Joined) -> Joined:
    write_private(cluster.state / "joined.json", msgspec.json.encode(result))
    return result


def _check_same(cluster: Cluster, known: Joined, machine: _Machine) -> None:
    if known.name != machine.name:
        raise ClusterError(
            f"this machine is node {known.name!r} of cluster {known.facts.name!r} already, not {machine.name!r}; "
            f"`tiphys down {cluster.name} --purge` here makes it leave, then it may join under another name"
        )


async def _check_name(client: Client, machine: _Machine) -> None:
    """Two machines under one name would take each other's pods."""
    try:
        found = await client.of(NODES).get(machine.name)
    except NotFound:
        return
    if found.ready and not await asyncio.to_thread(_is_this_machine, found):
        addresses = ", ".join(address.address for address in found.status.addresses)
        raise ClusterError(
            f"the cluster has a node {machine.name!r} ({addresses}), which is Ready and another machine; give this one "
            f"another name with --name, or, if that one is to go, stop it and `kubectl delete node {machine.name}`"
        )


def _is_this_machine(node: Node) -> bool:
    """By the machine's ID; where that is missing, by the firmware's."""
    for path, theirs in (
        (_MACHINE_ID, node.status.node_info.machine_id),
        (_PRODUCT_UUID, node.status.node_info.system_uuid),
    ):
        try:
            ours = path.read_text().strip()
        except OSError:
            continue
        if ours and theirs:
            return ours == theirs
    return False


def _prepare(cluster: Cluster, trust: Trust) -> None:
    for path in (cluster.state, cluster.pki, cluster.logs):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(Pki(cluster.pki).ca, trust.bundle)


async def _obtain(client: Client, pki: Pki, name: str, leaf: Leaf, patience: float) -> None:
    try:
        certificate = await signed(client, leaf, pki.own_key(name), patience, resume=True)
    except Forbidden as error:
        raise ClusterError(
            f"the cluster does not let this machine ask for a certificate ({error}); its roles were changed: "
            "`system:node-bootstrapper` is to be bound to the group system:bootstrappers"
        ) from error
    write_private(pki.certificate(name), certificate)


def _alive(pki: Pki, name: str, clock: Clock) -> bool:
    """Whether there is a certificate with its key, of a CA that is trusted here, that has not expired."""
    try:
        certificate = pki.read(name)
        good = fits(certificate, load_key(pki.key(name))) and bool(pki.family(certificate)[0])
    except (FileNotFoundError, ValueError):
        return False
    return good and clock.time() < certificate.not_valid_after_utc.timestamp()


async def _bundle(transport: Transport, token: JoinToken) -> dict[str, bytes]:
    from tiphys.server.control_plane_bundle import PATH, open_sealed

    try:
        sealed = await transport.send("GET", PATH)
    except Forbidden as error:
        raise ClusterError(
            f"token {token.id} is for nodes, not for control planes; `tiphys token create --control-plane` makes one"
        ) from error
    return open_sealed(sealed, token.id, token.secret)
