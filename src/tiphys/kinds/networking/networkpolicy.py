"""NetworkPolicy. Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/"""

from __future__ import annotations

import msgspec

from tiphys.api.meta import Model, ObjectMeta
from tiphys.kinds.core.affinity import LabelSelector
from tiphys.kinds.core.container import IntOrString
from tiphys.kinds.declare import declare


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


NETWORK_POLICIES = declare(
    NetworkPolicy, group="networking.k8s.io", version="v1", kind="NetworkPolicy", plural="networkpolicies",
    short_names=("netpol",),
)  # fmt: skip
