"""The admission plugins by upstream's names, in upstream's order, and which of them are on.

As with kube-apiserver's --enable-admission-plugins and --disable-admission-plugins the order is fixed.
Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tiphys.api.registry import Registry
from tiphys.server.admission import Plugin
from tiphys.server.admission_rules import Matching
from tiphys.server.authz import Authorizer, Rbac
from tiphys.server.cache import Cache
from tiphys.server.plugins.namespace_lifecycle import NamespaceLifecycle
from tiphys.server.plugins.node_restriction import NodeRestriction
from tiphys.server.plugins.outside import Factory, Lookup, Outside
from tiphys.server.plugins.pod_defaults import DefaultTolerationSeconds, Priority
from tiphys.server.plugins.rbac_escalation import RbacEscalation
from tiphys.server.plugins.service_account import ServiceAccount
from tiphys.server.plugins.webhooks import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from tiphys.server.webhook_client import WebhookClient


@dataclass(frozen=True, slots=True)
class Selected:
    """Names to switch on besides the defaults, names to switch off, and the user's own plugins by name."""

    enable: Sequence[str] = ()
    disable: Sequence[str] = ()
    outside: Mapping[str, Factory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parts:
    """What plugins are made of."""

    cache: Cache
    registry: Registry
    rbac: Rbac
    authorizer: Authorizer
    webhooks: WebhookClient
    matching: Matching


# Between these two are the plugins of the user.
_FIRST: Mapping[str, Callable[[Parts], Plugin]] = {
    "NamespaceLifecycle": lambda parts: NamespaceLifecycle(parts.cache),
    "ServiceAccount": lambda parts: ServiceAccount(parts.cache),
    "NodeRestriction": lambda parts: NodeRestriction(),
    "Priority": lambda parts: Priority(parts.cache),
    "DefaultTolerationSeconds": lambda parts: DefaultTolerationSeconds(),
    # Not a plugin upstream but a part of its RBAC storage, so that nothing switches it off there either.
    "RbacEscalation": lambda parts: RbacEscalation(parts.cache, parts.rbac, parts.authorizer),
}
_LAST: Mapping[str, Callable[[Parts], Plugin]] = {
    "MutatingAdmissionWebhook": lambda parts: MutatingAdmissionWebhook(parts.cache, parts.matching, parts.webhooks),
    "ValidatingAdmissionWebhook": lambda parts: ValidatingAdmissionWebhook(parts.cache, parts.matching, parts.webhooks),
}
_OFF: frozenset[str] = frozenset()
_ALWAYS = frozenset({"RbacEscalation"})


def build(parts: Parts, selected: Selected) -> Iterator[Plugin]:
    """The plugins that are on. Raises ValueError for a name that is not known."""
    known = {**_FIRST, **_LAST}
    for name in (*selected.enable, *selected.disable):
        if name not in known or name in _ALWAYS:
            choices = ", ".join(sorted(known.keys() - _ALWAYS))
            raise ValueError(f'there is no admission plugin "{name}"; there are: {choices}')
    on = known.keys() - _OFF | set(selected.enable)
    on -= set(selected.disable)
    yield from (make(parts) for name, make in _FIRST.items() if name in on)
    lookup = Lookup(parts.registry, parts.cache)
    yield from (Outside(name, make(lookup)) for name, make in selected.outside.items())
    yield from (make(parts) for name, make in _LAST.items() if name in on)
