"""What policies allow: from NetworkPolicies, pods and namespaces to addresses and ports. Pure.

A pod that no policy of a direction selects is open in that direction; of one that some select, only what one of them
allows may pass. Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from tiphys.api.meta import Key
from tiphys.api.selectors import NOTHING, LabelSelector, from_object
from tiphys.kinds.core import affinity
from tiphys.kinds.core.namespace import Namespace
from tiphys.kinds.networking.networkpolicy import IpBlock, NetworkPolicy, PolicyPeer, PolicyPort
from tiphys.networkpolicy.peers import Peer

INGRESS, EGRESS = "Ingress", "Egress"
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Block:
    """Addresses of a range but for the holes in it."""

    network: ipaddress.IPv4Network
    holes: tuple[ipaddress.IPv4Network, ...] = ()

    def __contains__(self, address: str) -> bool:
        found = ipaddress.IPv4Address(address)
        return found in self.network and not any(found in hole for hole in self.holes)


@dataclass(frozen=True, slots=True)
class Allowed:
    """One rule of a policy: who, at which ports. `name` is stable as long as the rule keeps its place.

    `everybody` where it names no peers; otherwise the pods' `addresses` and `blocks`. `ports` are ranges by protocol,
    `named` ports (address, protocol, number) of who is connected to; where `every_port`, neither counts.
    """

    name: str
    everybody: bool
    addresses: frozenset[str]
    blocks: tuple[Block, ...]
    every_port: bool
    ports: Mapping[str, tuple[Range, ...]]
    named: frozenset[tuple[str, str, int]]

    def allows(self, peer: str, target: str, protocol: str, port: int) -> bool:
        who = self.everybody or peer in self.addresses or any(peer in block for block in self.blocks)
        if not who or self.every_port:
            return who
        numbered = any(first <= port <= last for first, last in self.ports.get(protocol, ()))
        return numbered or (target, protocol, port) in self.named


@dataclass(frozen=True, slots=True)
class Isolation:
    """What may pass in one direction at the pods that the same policies select."""

    name: str
    allowed: tuple[Allowed, ...]


@dataclass(frozen=True, slots=True)
class Isolated:
    """Isolations by the address of the pod, in both directions."""

    ingress: Mapping[str, Isolation]
    egress: Mapping[str, Isolation]

    def admits(self, source: str, target: str, protocol: str, port: int) -> bool:
        """Whether a connection passes; `protocol` in small letters."""
        if source == target:
            return True
        leaves, enters = self.egress.get(source), self.ingress.get(target)
        return (leaves is None or any(rule.allows(target, target, protocol, port) for rule in leaves.allowed)) and (
            enters is None or any(rule.allows(source, target, protocol, port) for rule in enters.allowed)
        )


class World:
    """The policies and what they speak of, at one moment; `namespaces` are labels by name."""

    def __init__(
        self, policies: Iterable[NetworkPolicy], pods: Iterable[Peer], namespaces: Iterable[Namespace]
    ) -> None:  # fmt: skip
        self._labels = {found.metadata.name: found.metadata.labels for found in namespaces}
        self._pods: dict[str, list[Peer]] = {}
        for pod in pods:
            if pod.addresses:
                self._pods.setdefault(pod.metadata.namespace, []).append(pod)
        self._policies: dict[str, list[NetworkPolicy]] = {}
        for policy in sorted(policies, key=lambda policy: policy.metadata.key):
            self._policies.setdefault(policy.metadata.namespace, []).append(policy)
        self._rules: dict[tuple[Key, str], tuple[Allowed, ...]] = {}

    def isolated(self, pods: Iterable[Peer]) -> Isolated:
        """What holds for some of the pods."""
        ingress: dict[str, Isolation] = {}
        egress: dict[str, Isolation] = {}
        shared: dict[tuple[str, tuple[Key, ...]], Isolation] = {}
        for pod in pods:
            for direction, found in ((INGRESS, ingress), (EGRESS, egress)):
                policies = [policy for policy in self._selecting(pod) if direction in policy.spec.policy_types]
                if not policies:
                    continue
                key = (direction, tuple(policy.metadata.key for policy in policies))
                if key not in shared:
                    shared[key] = self._isolation(direction, policies)
                found.update(dict.fromkeys(pod.addresses, shared[key]))
        return Isolated(ingress, egress)

    def _selecting(self, pod: Peer) -> Iterator[NetworkPolicy]:
        for policy in self._policies.get(pod.metadata.namespace, ()):
            if _selector(policy.spec.pod_selector).matches(pod.metadata.labels):
                yield policy

    def _isolation(self, direction: str, policies: Sequence[NetworkPolicy]) -> Isolation:
        name = _digest(direction, *(policy.metadata.key for policy in policies))
        return Isolation(name, tuple(rule for policy in policies for rule in self._allowed(policy, direction)))

    def _allowed(self, policy: NetworkPolicy, direction: str) -> tuple[Allowed, ...]:
        key = (policy.metadata.key, direction)
        if key not in self._rules:
            spec = policy.spec
            rules = (
                [(rule.from_, rule.ports) for rule in spec.ingress]
                if direction == INGRESS
                else [(rule.to, rule.ports) for rule in spec.egress]
            )
            self._rules[key] = tuple(
                self._rule(policy, direction, _digest(direction, policy.metadata.key, str(place)), peers, ports)
                for place, (peers, ports) in enumerate(rules)
            )
        return self._rules[key]

    def _rule(
        self, policy: NetworkPolicy, direction: str, name: str, peers: list[PolicyPeer], ports: list[PolicyPort]
    ) -> Allowed:  # fmt: skip
        space = policy.metadata.namespace
        selected = [pod for peer in peers if peer.ip_block is None for pod in self._chosen(space, peer)]
        blocks = tuple(block for peer in peers if peer.ip_block is not None for block in _blocks(peer.ip_block))
        named: list[tuple[str, str, int]] = []
        wanted = [port for port in ports if isinstance(port.port, str)]
        if wanted:
            # Names are those of who is connected to: the policy's own pods, or, going out, the peers.
            own = PolicyPeer(pod_selector=policy.spec.pod_selector)
            anybody = not peers or bool(blocks)
            targets = (
                self._chosen(space, own) if direction == INGRESS
                else [pod for pods in self._pods.values() for pod in pods] if anybody
                else selected
            )  # fmt: skip
            named = [each for port in wanted for pod in targets for each in _named(pod, port)]
        addresses = frozenset(address for pod in selected for address in pod.addresses)
        return Allowed(name, not peers, addresses, blocks, not ports, _ranges(ports), frozenset(named))

    def _chosen(self, namespace: str, peer: PolicyPeer) -> Iterator[Peer]:
        if peer.namespace_selector is None:
            spaces: Iterable[str] = (namespace,)
        else:
            chooses = _selector(peer.namespace_selector)
            spaces = [name for name in self._pods if chooses.matches(self._labels.get(name) or {})]
        wanted = _selector(peer.pod_selector or affinity.LabelSelector())
        for space in spaces:
            yield from (pod for pod in self._pods.get(space, ()) if wanted.matches(pod.metadata.labels))


def _named(pod: Peer, port: PolicyPort) -> Iterator[tuple[str, str, int]]:
    for number in pod.ports(str(port.port), port.protocol):
        yield from ((address, port.protocol.lower(), number) for address in pod.addresses)


def _ranges(ports: Iterable[PolicyPort]) -> dict[str, tuple[Range, ...]]:
    """Ranges of port numbers by protocol, in order and without overlap."""
    found: dict[str, list[Range]] = {}
    for port in ports:
        if port.port is None:
            found.setdefault(port.protocol.lower(), []).append((0, 65535))
        elif isinstance(port.port, int):
            found.setdefault(port.protocol.lower(), []).append((port.port, port.end_port or port.port))
    return {protocol: tuple(_merged(ranges)) for protocol, ranges in found.items()}


def _merged(ranges: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _blocks(given: IpBlock) -> Iterator[Block]:
    """None for what is not IPv4: such addresses no pod has."""
    with suppress(ValueError):
        holes = [ipaddress.IPv4Network(hole, strict=False) for hole in given.except_]
        merged = tuple(ipaddress.collapse_addresses(holes))
        yield Block(ipaddress.IPv4Network(given.cidr, strict=False), merged)


def _selector(selector: affinity.LabelSelector) -> LabelSelector:
    return _parsed(msgspec.json.encode(selector))


@lru_cache(maxsize=4096)
def _parsed(selector: bytes) -> LabelSelector:
    """What cannot be read, having been stored under other rules, selects nothing."""
    try:
        return from_object(msgspec.json.decode(selector))
    except ValueError:
        return NOTHING


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]
