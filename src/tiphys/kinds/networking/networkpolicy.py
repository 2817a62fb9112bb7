"""NetworkPolicy. Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import msgspec

from tiphys.api import names
from tiphys.api.errors import FieldError, forbidden, invalid, not_supported, required
from tiphys.api.meta import Model, ObjectMeta
from tiphys.api.resource import Json
from tiphys.kinds.addresses import range_warnings
from tiphys.kinds.checks import follows, label_selector, one_of
from tiphys.kinds.columns import AGE, NAME, column, selector_text
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_text
from tiphys.kinds.strategy import KindStrategy


class IpBlock(Model):
    cidr: str
    except_: list[str] = msgspec.field(name="except", default_factory=list)


class PolicyPeer(Model):
    ip_block: IpBlock | None = None
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None


class PolicyPort(Model):
    """`port` None: all ports."""

    protocol: str = "TCP"
    port: IntOrString | None = None
    end_port: int | None = None


class IngressPolicyRule(Model):
    from_: list[PolicyPeer] = msgspec.field(name="from", default_factory=list)
    ports: list[PolicyPort] = []


class EgressPolicyRule(Model):
    to: list[PolicyPeer] = []
    ports: list[PolicyPort] = []


class NetworkPolicySpec(Model):
    pod_selector: LabelSelector = LabelSelector()
    policy_types: list[str] = []
    ingress: list[IngressPolicyRule] = []
    egress: list[EgressPolicyRule] = []


class NetworkPolicy(Model):
    metadata: ObjectMeta = ObjectMeta()
    spec: NetworkPolicySpec = NetworkPolicySpec()


class NetworkPolicyStrategy(KindStrategy):
    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        spec.setdefault("podSelector", {})
        for direction in ("ingress", "egress"):
            for rule in spec.get(direction) or ():
                for port in rule.get("ports") or ():
                    put_text(port, "protocol", "TCP")
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        yield from label_selector(spec.get("podSelector"), "spec.podSelector")
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(spec.get(direction) or ()):
                where = f"spec.{direction}[{index}]"
                for position, port in enumerate(rule.get("ports") or ()):
                    yield from _check_port(port, f"{where}.ports[{position}]")
                for position, peer in enumerate(rule.get(peers) or ()):
                    yield from _check_peer(peer, f"{where}.{peers}[{position}]")
        kinds = spec.get("policyTypes") or ()
        if len(kinds) > 2:
            yield invalid("spec.policyTypes", kinds, "may not specify more than two policyTypes")
            return
        for index, kind in enumerate(kinds):
            if kind not in ("Ingress", "Egress"):
                yield not_supported(f"spec.policyTypes[{index}]", kind, ("Ingress", "Egress"))

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for index, rule in enumerate(dig(new, "spec", direction) or ()):
                for position, peer in enumerate(rule.get(peers) or ()):
                    block, where = peer.get("ipBlock") or {}, f"spec.{direction}[{index}].{peers}[{position}].ipBlock"
                    yield from range_warnings(block.get("cidr") or "", f"{where}.cidr")
                    for hole, cidr in enumerate(block.get("except") or ()):
                        yield from range_warnings(cidr, f"{where}.except[{hole}]")


def _check_port(port: Json, path: str) -> Iterator[FieldError]:
    yield from one_of(port, path, "protocol", ("TCP", "UDP", "SCTP"))
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, str):
        if end is not None:
            yield invalid(f"{path}.endPort", end, "may not be specified when `port` is non-numeric")
        yield from follows(number, f"{path}.port", names.port_name)
    elif number is not None:
        for problem in names.port_number(number):
            yield invalid(f"{path}.port", number, problem)
        if end is not None and end < number:
            # The value shown is upstream's.
            yield invalid(f"{path}.endPort", number, "must be greater than or equal to `port`")
        for problem in names.port_number(end) if end is not None else ():
            yield invalid(f"{path}.endPort", end, problem)
    elif end is not None:
        yield invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")


def _check_peer(peer: Json, path: str) -> Iterator[FieldError]:
    block = peer.get("ipBlock")
    kinds = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(name) is not None]
    for name in ("podSelector", "namespaceSelector"):
        yield from label_selector(peer.get(name), f"{path}.{name}")
    if block is not None:
        yield from _check_block(block, f"{path}.ipBlock")
    if not kinds:
        yield required(path, "must specify a peer")
    elif block is not None and len(kinds) > 1:
        yield forbidden(path, "may not specify both ipBlock and another peer")


def _check_block(block: Json, path: str) -> Iterator[FieldError]:
    cidr = block.get("cidr") or ""
    if not cidr:
        yield required(f"{path}.cidr")
        return
    problems = list(follows(cidr, f"{path}.cidr", names.cidr))
    yield from problems
    for index, hole in enumerate((block.get("except") or ()) if not problems else ()):
        where = f"{path}.except[{index}]"
        wrong = list(follows(hole, where, names.cidr))
        yield from wrong
        if not wrong and not _inside(hole, cidr):
            yield invalid(where, hole, "must be a strict subset of `cidr`")


def _inside(hole: str, cidr: str) -> bool:
    inner, outer = ipaddress.ip_network(hole, strict=False), ipaddress.ip_network(cidr, strict=False)
    if inner.version != outer.version or inner.prefixlen <= outer.prefixlen:
        return False
    return inner.network_address in outer


NETWORK_POLICIES = declare(
    NetworkPolicy, group="networking.k8s.io", version="v1", kind="NetworkPolicy", plural="networkpolicies",
    short_names=("netpol",),
    columns=(
        NAME, column("Pod-Selector", lambda obj: selector_text((obj.get("spec") or {}).get("podSelector"))), AGE,
    ),
    strategy=NetworkPolicyStrategy(),
)  # fmt: skip
