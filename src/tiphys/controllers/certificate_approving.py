"""Approves the certificate requests of kubelets: their first, their renewals, and those of their servers.

For client certificates as upstream does: whoever may create `certificatesigningrequests/nodeclient` gets one for any
node's name, which bootstrap tokens allow; `selfnodeclient` allows to renew one's own.

Upstream leaves serving certificates to people. Here they are approved if a node asks in its own name (which its client
certificate proves) for that name and for addresses of its own: those that its Node object has, or, before there is
one, any that no other node, API server or network of the cluster has. Such a certificate lets its holder be taken for
whoever answers at these names. A node that was broken into could lie about its own Node object, too, so what is
somebody else's is always refused; the rest is nobody's, or the node's own traffic, which it could read before.
Source: https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from tiphys.api.meta import Key
from tiphys.controllers.authority import Authority
from tiphys.controllers.base import After, Context, Terminal
from tiphys.controllers.certificate_requests import (
    KUBELET_CLIENT,
    KUBELET_SERVING,
    NODE_PREFIX,
    Wanted,
    condition,
    current,
    parse,
    problem,
)
from tiphys.kinds.authorization.subjectaccessreview import SUBJECT_ACCESS_REVIEWS
from tiphys.kinds.certificates.certificatesigningrequest import (
    CERTIFICATE_SIGNING_REQUESTS,
    CertificateSigningRequest,
    CsrSpec,
)
from tiphys.kinds.core.node import NODES, Node
from tiphys.kinds.discovery.endpointslice import ENDPOINT_SLICES

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_REQUESTOR = "requestor"
_MESSAGES = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
}


def undecided(csr: CertificateSigningRequest) -> bool:
    return not csr.status.certificate and not any(map(csr.has, ("Approved", "Denied", "Failed")))


def serving_problem(wanted: Wanted, own: Node | None, taken: frozenset[str], networks: Sequence[Network]) -> str:
    """Why a node's serving certificate is not approved; `taken` are names and addresses of others."""
    claimed = [*wanted.dns, *wanted.addresses]
    for name in claimed:
        if name in taken:
            return f"{name} is another node's or an API server's"
        if ".svc" in name:
            return f"{name} is the name of a Service"
    for address in map(ipaddress.ip_address, wanted.addresses):
        if address.is_loopback or address.is_unspecified or address.is_multicast:
            return f"{address} is no address of a node"
        if any(address in network for network in networks):
            return f"{address} is in the pods' or the services' network"
    mine = {wanted.node}
    if own is not None:
        mine |= {address.address for address in own.status.addresses}
        stray = [name for name in claimed if name not in mine]
    else:
        stray = [name for name in wanted.dns if name not in mine]
    return f"{stray[0]} is not in the addresses of node {wanted.node}" if stray else ""


class CertificateApprovingController:
    """Keys are names of requests. A request that is not recognized is left to people."""

    name = "certificatesigningrequest-approving-controller"
    workers = 1

    def __init__(self, context: Context, authority: Authority, networks: Sequence[Network] = ()) -> None:
        self._context, self._authority, self._networks = context, authority, networks
        self._requests = context.watch(CERTIFICATE_SIGNING_REQUESTS)
        self._requests.add_index(_REQUESTOR, lambda csr: (csr.spec.username,))
        # What is not approved now may be once the Node says where it is.
        self._nodes = context.watch(NODES, self._pending_of)
        self._slices = context.informers.of(ENDPOINT_SLICES)
        self._client = context.client.of(CERTIFICATE_SIGNING_REQUESTS)
        self._reviews = context.client.of(SUBJECT_ACCESS_REVIEWS)

    async def reconcile(self, key: Key) -> After | None:
        csr = self._requests.get(key)
        if csr is None or not undecided(csr) or csr.spec.signer_name not in (KUBELET_CLIENT, KUBELET_SERVING):
            return None
        try:
            wanted = parse(csr.spec.request)
        except ValueError as error:
            raise Terminal(f"request {key} cannot be read: {error}") from error
        if problem(csr, wanted):
            return None
        message = await (self._serving(csr, wanted) if csr.spec.signer_name == KUBELET_SERVING
                         else self._client_allowed(csr, wanted))  # fmt: skip
        if message:
            await self._approve(csr, message)
        return None

    async def _client_allowed(self, csr: CertificateSigningRequest, wanted: Wanted) -> str:
        own = csr.spec.username == wanted.common_name
        for subresource in ("selfnodeclient", "nodeclient") if own else ("nodeclient",):
            if await self._allowed(csr.spec, subresource):
                return _MESSAGES[subresource]
        return ""

    async def _serving(self, csr: CertificateSigningRequest, wanted: Wanted) -> str:
        if csr.spec.username != wanted.common_name or "system:nodes" not in csr.spec.groups:
            return ""
        refused = serving_problem(wanted, self._nodes.get(wanted.node), self._taken(wanted.node), self._networks)
        if refused:
            raise Terminal(f"serving certificate {csr.metadata.name} for node {wanted.node} is not approved: {refused}")
        return "Auto approving kubelet serving certificate for the node's own name and addresses."

    def _taken(self, node: str) -> frozenset[str]:
        found = set(self._authority.reserved)
        for other in self._nodes.items():
            if other.metadata.name != node:
                found |= {other.metadata.name, *(address.address for address in other.status.addresses)}
        api = self._slices.get(Key("default/kubernetes"))
        for endpoint in api.endpoints if api is not None else ():
            found.update(endpoint.addresses)
        return frozenset(found)

    async def _allowed(self, spec: CsrSpec, subresource: str) -> bool:
        attributes = {
            "group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": "create",
            "subresource": subresource,
        }  # fmt: skip
        asked = {"user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra}
        review = await self._reviews.create_json({"spec": {**asked, "resourceAttributes": attributes}})
        return bool(review["status"].get("allowed"))

    async def _approve(self, csr: CertificateSigningRequest, message: str) -> None:
        found = await current(self._client, csr)
        if found is None:
            # It comes again, as it is by then.
            return
        decision = condition("Approved", "AutoApproved", message, self._context.clock.time())
        found.setdefault("status", {}).setdefault("conditions", []).append(decision)
        await self._client.update(found, subresource="approval")

    def _pending_of(self, node: Node) -> Iterable[str]:
        requests = self._requests.by(_REQUESTOR, NODE_PREFIX + node.metadata.name)
        return [csr.metadata.key for csr in requests if undecided(csr)]
