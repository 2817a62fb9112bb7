"""The loop that keeps the kernel's table as the policies say; nothing is watched but policies while there are none.

Changes that come together are applied together, and a computation that took long is followed by a rest of four times
as long. A pod's containers do not start before the policies that select the pod hold for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter, Histogram
from tiphys.client.checkpoint import Checkpoint
from tiphys.client.informer import Informer, Informers
from tiphys.kinds.core.namespace import NAMESPACES, Namespace
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.networking.networkpolicy import NETWORK_POLICIES, NetworkPolicy
from tiphys.networkpolicy import rules
from tiphys.networkpolicy.peers import PEERS, Peer, peer_of
from tiphys.networkpolicy.plan import World
from tiphys.node import nft
from tiphys.node.nft_state import State, script

_log = Log("networkpolicy")
_RETRY = Backoff(0.2, 30.0)
# So many times as long as a computation took, there is none.
_REST = 4
_SECONDS = Histogram(
    "tiphys_networkpolicy_sync_duration_seconds", "Time to bring the kernel's table of policies up to date.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
_FAILURES = Counter("tiphys_networkpolicy_sync_failures_total", "Transactions that the kernel refused.")


class Enforcer:
    """`run` under a supervisor; `node` is whose pods are isolated, in the kernel's table `table`."""

    def __init__(
        self, informers: Informers, node: str, table: str, clock: Clock, checkpoint: Checkpoint | None = None
    ) -> None:  # fmt: skip
        self._client, self._node, self._table = informers.client, node, table
        self._clock, self._checkpoint = clock, checkpoint
        self._policies = informers.of(NETWORK_POLICIES)
        self._policies.add_index("namespace", lambda policy: (policy.metadata.namespace,))
        self._policies.add_handler(self._on_policy)
        self._woken = asyncio.Event()
        # None: what the kernel has is of a predecessor, or was refused.
        self._applied: State | None = None
        self._world = World((), (), ())
        self._addressed: dict[str, Peer] = {}
        # Pods whose containers are to start, until the API knows their addresses; and what holds already.
        self._starting: dict[str, Peer] = {}
        self._held: dict[str, Peer] = {}
        self._waiting: list[asyncio.Future[None]] = []

    async def run(self) -> None:
        await self._policies.synced.wait()
        while True:
            if len(self._policies):
                await self._enforce()
            else:
                await self._stand_open()

    async def isolate(self, pod: Pod, addresses: Sequence[str]) -> None:
        """Return once the policies that there are hold for a pod of this node, which has these addresses."""
        await self._policies.synced.wait()
        if pod.spec.host_network or not self._policies.by("namespace", pod.metadata.namespace):
            return
        peer = peer_of(pod, addresses)
        held = self._held.get(pod.metadata.uid)
        if held is not None and held.facts == peer.facts:
            return
        self._starting[pod.metadata.uid] = peer
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._woken.set()
        await future

    def admits(self, source: str, target: tuple[str, int]) -> bool:
        """Whether a TCP connection that somebody takes up for `source` would have been let through to a pod."""
        ends = [self._addressed[address] for address in (source, target[0]) if address in self._addressed]
        return self._world.isolated(ends).admits(source, target[0], "tcp", target[1])

    async def _stand_open(self) -> None:
        """Without a policy there is no table; return when there is one again."""
        self._world, self._addressed = World((), (), ()), {}
        self._starting.clear()
        self._held.clear()
        self._applied = None
        failures = 0
        while not len(self._policies):
            self._woken.clear()
            try:
                await nft.delete_table("ip", self._table)
            except nft.NftError as error:
                failures = await self._refused(error, failures)
                continue
            self._release(len(self._waiting))
            await self._woken.wait()

    async def _enforce(self) -> None:
        pods = Informer(self._client, PEERS, clock=self._clock, checkpoint=self._checkpoint)
        namespaces = Informer(self._client, NAMESPACES, clock=self._clock, checkpoint=self._checkpoint)
        pods.add_handler(self._on_pod)
        namespaces.add_handler(self._on_namespace)
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(informer.run()) for informer in (pods, namespaces)]
            await pods.synced.wait()
            await namespaces.synced.wait()
            failures = 0
            while len(self._policies):
                self._woken.clear()
                waiting = len(self._waiting)
                began = self._clock.monotonic()
                wanted = self._wanted(pods, namespaces)
                took = self._clock.monotonic() - began
                try:
                    await self._apply(wanted)
                except nft.NftError as error:
                    failures = await self._refused(error, failures)
                    continue
                failures = 0
                self._release(waiting)
                _SECONDS.observe(self._clock.monotonic() - began)
                await self._clock.sleep(_REST * took)
                await self._woken.wait()
            for task in watching:
                task.cancel()
        pods.forget()
        namespaces.forget()

    def _wanted(self, pods: Informer[Peer], namespaces: Informer[Namespace]) -> State:
        every = {pod.metadata.uid: pod for pod in pods.items()} | self._starting
        self._world = World(self._policies.items(), every.values(), namespaces.items())
        self._addressed = {address: pod for pod in every.values() for address in pod.addresses}
        self._held = {uid: pod for uid, pod in every.items() if pod.spec.node_name == self._node}
        return rules.state_of(self._world.isolated(self._held.values()))

    async def _apply(self, wanted: State) -> None:
        text = script(f"ip {self._table}", self._applied or State(), wanted)
        if self._applied is None:
            text = rules.table(self._table) + text
        if text:
            await nft.apply(text)
            self._applied = wanted

    async def _refused(self, error: nft.NftError, failures: int) -> int:
        _FAILURES.inc()
        _log.error("the table of policies was refused, trying again", table=self._table, error=error)
        self._applied = None
        await self._clock.sleep(_RETRY.delay(failures))
        return failures + 1

    def _release(self, count: int) -> None:
        """The first `count` that wait need wait no more."""
        for future in self._waiting[:count]:
            if not future.done():
                future.set_result(None)
        del self._waiting[:count]

    def _on_policy(self, old: NetworkPolicy | None, new: NetworkPolicy | None) -> None:
        if old is None or new is None or old.spec != new.spec:
            self._woken.set()

    def _on_pod(self, old: Peer | None, new: Peer | None) -> None:
        uid = next(pod.metadata.uid for pod in (new, old) if pod is not None)
        starting = self._starting.get(uid)
        if starting is not None and (new is None or set(starting.addresses) <= set(new.addresses)):
            del self._starting[uid]
        if old is None or new is None or old.facts != new.facts:
            self._woken.set()

    def _on_namespace(self, old: Namespace | None, new: Namespace | None) -> None:
        if old is None or new is None or old.metadata.labels != new.metadata.labels:
            self._woken.set()
