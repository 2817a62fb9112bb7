"""Makes a machine a node of a cluster elsewhere, or one more of its control planes: `tiphys agent --server`, `--join`.

A machine that has joined goes on with what it has, without asking anybody. One that was interrupted goes on from where
it was. Nothing is written before the cluster is known to be the one that the token is for.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from tiphys.api.errors import Forbidden, NotFound, Unauthorized
from tiphys.base.clock import Clock, SystemClock
from tiphys.client.client import Client
from tiphys.client.http import Https
from tiphys.client.transport import Transport, Unreachable
from tiphys.kinds.core.node import NODES, Node
from tiphys.main.certificate_request import PATIENCE, signed
from tiphys.main.cluster import Cluster, ClusterError, write_private
from tiphys.main.cluster_facts import ClusterFacts, read_cluster
from tiphys.main.discovery import Trust, checked_url, discover
from tiphys.main.leaf import Leaf, fits
from tiphys.main.pki import Pki, load_key
from tiphys.main.token import JoinToken, parse

AGENT, KUBELET = "agent", "kubelet"
_MACHINE_ID, _PRODUCT_UUID = Path("/etc/machine-id"), Path("/sys/class/dmi/id/product_uuid")


class Joined(msgspec.Struct, frozen=True):
    """A machine's place in a cluster. Its certificates are AGENT and KUBELET in `Pki(cluster.pki)`."""

    name: str
    address: str
    facts: ClusterFacts
    control_plane: bool = False


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
    machine, pki = _Machine(name, address), Pki(cluster.pki)
    known = joined(cluster)
    if known is not None:
        _check_same(cluster, known, machine)
        if _alive(pki, AGENT, clock) and _alive(pki, KUBELET, clock):
            return known
        if not _alive(pki, AGENT, clock) and not token:
            raise ClusterError(
                f"the certificate of node {name!r} has expired, as this machine was away for long; `tiphys token "
                "create` on a control plane prints the command with which it joins again, as it is"
            )
    if not _alive(pki, AGENT, clock):
        async with _introduced(server_url, token, clock) as (transport, trust):
            client = Client(transport, manager="kubelet")
            await _check_name(client, machine)
            # So that a cluster which cannot be joined is known before anything is written.
            await read_cluster(transport)
            _prepare(cluster, trust)
            await _obtain(client, pki, AGENT, machine.client, patience)
    async with _itself(server_url, pki) as transport:
        facts = await read_cluster(transport)
        if not _alive(pki, KUBELET, clock):
            await _obtain(Client(transport, manager="kubelet"), pki, KUBELET, machine.serving, patience)
    return _done(cluster, Joined(name, address, facts))


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
    async with _introduced(server_url, token, clock) as (transport, trust):
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


@asynccontextmanager
async def _introduced(server_url: str, text: str, clock: Clock) -> AsyncIterator[tuple[Transport, Trust]]:
    """A transport that speaks as the bearer of the token, to nobody but the cluster that the token is for."""
    url, token = checked_url(server_url), parse(text)
    trust = await discover(url, token, clock)
    transport = Https([url], trust.tls(), agent="tiphys-join", token=lambda: token.bearer)
    try:
        yield transport, trust
    except Unauthorized as error:
        raise _refused(url, token, trust) from error
    except Unreachable as error:
        raise _lost(url, error) from error
    finally:
        await transport.close()


@asynccontextmanager
async def _itself(server_url: str, pki: Pki) -> AsyncIterator[Transport]:
    """A transport in the node's own name: that is what shows that the name is its own."""
    url = checked_url(server_url)
    transport = Https([url], pki.client_tls(AGENT), agent="tiphys-agent")
    try:
        yield transport
    except Unreachable as error:
        raise _lost(url, error) from error
    finally:
        await transport.close()


def _refused(url: str, token: JoinToken, trust: Trust) -> ClusterError:
    why = "its secret is wrong, copy it whole" if trust.known else "it has expired, was deleted, or never was"
    return ClusterError(
        f"{url} does not accept token {token.id}: {why}; `tiphys token create` on a control plane prints a new one"
    )


def _lost(url: str, error: Unreachable) -> ClusterError:
    if isinstance(error.__cause__, aiohttp.ClientSSLError | ssl.SSLError):
        return ClusterError(
            f"what answers at {url} does not prove that it is the cluster's ({error.__cause__}): either its "
            "certificate does not have this address, then use another address of it, or somebody stands between"
        )
    return ClusterError(f"{url} answered, but no longer does ({error}); begin again once it does")


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
    try:
        certificate = pki.read(name)
        return fits(certificate, load_key(pki.key(name))) and clock.time() < certificate.not_valid_after_utc.timestamp()
    except (FileNotFoundError, ValueError):
        return False


async def _bundle(transport: Transport, token: JoinToken) -> dict[str, bytes]:
    from tiphys.server.control_plane_bundle import PATH, open_sealed

    try:
        sealed = await transport.send("GET", PATH)
    except Forbidden as error:
        raise ClusterError(
            f"token {token.id} is for nodes, not for control planes; `tiphys token create --control-plane` makes one"
        ) from error
    return open_sealed(sealed, token.id, token.secret)
