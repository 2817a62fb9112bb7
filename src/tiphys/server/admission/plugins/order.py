"""The admission plugins by upstream's names, in upstream's order, and which of them are on.

As with kube-apiserver's --enable-admission-plugins and --disable-admission-plugins the order is fixed.
Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tiphys.api.registry import Registry
from tiphys.base.clock import Clock
from tiphys.server.admission.chain import Plugin
from tiphys.server.admission.matching import Matching
from tiphys.server.admission.plugins.certificates import (
    CertificateApproval,
    CertificateRequester,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from tiphys.server.admission.plugins.defaults import (
    DefaultIngressClass,
    DefaultStorageClass,
    PersistentVolumeClaimResize,
    StorageObjectInUseProtection,
)
from tiphys.server.admission.plugins.device_admin_access import DeviceAdminAccess
from tiphys.server.admission.plugins.event_rate_limit import EventLimit, EventRateLimit
from tiphys.server.admission.plugins.limit_ranger import LimitRanger
from tiphys.server.admission.plugins.mutating_policy import MutatingAdmissionPolicy
from tiphys.server.admission.plugins.namespace_lifecycle import NamespaceLifecycle
from tiphys.server.admission.plugins.node_restriction import NodeRestriction, TaintNodesByCondition
from tiphys.server.admission.plugins.outside import Factory, Lookup, Outside
from tiphys.server.admission.plugins.pod_defaults import (
    TOLERATED_SECONDS,
    AlwaysPullImages,
    DefaultTolerationSeconds,
    Priority,
)
from tiphys.server.admission.plugins.pod_security import PodSecurity
from tiphys.server.admission.plugins.rbac_escalation import RbacEscalation
from tiphys.server.admission.plugins.resource_quota import ResourceQuota
from tiphys.server.admission.plugins.runtime_class import RuntimeClass
from tiphys.server.admission.plugins.scheduling import (
    DenyServiceExternalIPs,
    ExtendedResourceToleration,
    PodTopologyLabels,
)
from tiphys.server.admission.plugins.service_account import ServiceAccount
from tiphys.server.admission.plugins.validating_policy import ValidatingAdmissionPolicy
from tiphys.server.admission.plugins.webhooks import MutatingAdmissionWebhook, ValidatingAdmissionWebhook
from tiphys.server.authz import Authorizer, Rbac
from tiphys.server.cache import Cache
from tiphys.server.webhook_client import WebhookClient


@dataclass(frozen=True, slots=True)
class Selected:
    """Names to switch on besides the defaults, names to switch off, and the user's own plugins by name."""

    enable: Sequence[str] = ()
    disable: Sequence[str] = ()
    outside: Mapping[str, Factory] = field(default_factory=dict)
    # Of EventRateLimit, which is off by default.
    event_limits: Sequence[EventLimit] = ()
    # Upstream's flags of these names: for how long pods bear a node that is lost.
    default_not_ready_toleration_seconds: int = TOLERATED_SECONDS
    default_unreachable_toleration_seconds: int = TOLERATED_SECONDS


@dataclass(frozen=True, slots=True)
class Parts:
    """What plugins are made of."""

    cache: Cache
    registry: Registry
    rbac: Rbac
    authorizer: Authorizer
    webhooks: WebhookClient
    matching: Matching
    clock: Clock
    event_limits: Sequence[EventLimit] = ()
    selected: Selected = Selected()


Makers = Mapping[str, Callable[[Parts], Plugin]]
# Between the first and the last are the plugins of the user.
_FIRST: Makers = {
    "NamespaceLifecycle": lambda parts: NamespaceLifecycle(parts.cache),
    "LimitRanger": lambda parts: LimitRanger(parts.cache),
    "ServiceAccount": lambda parts: ServiceAccount(parts.cache),
    "NodeRestriction": lambda parts: NodeRestriction(parts.cache),
    "TaintNodesByCondition": lambda parts: TaintNodesByCondition(),
    "AlwaysPullImages": lambda parts: AlwaysPullImages(),
    "PodSecurity": lambda parts: PodSecurity(parts.cache),
    "Priority": lambda parts: Priority(parts.cache),
    "DefaultTolerationSeconds": lambda parts: DefaultTolerationSeconds(
        parts.selected.default_not_ready_toleration_seconds, parts.selected.default_unreachable_toleration_seconds
    ),
    "ExtendedResourceToleration": lambda parts: ExtendedResourceToleration(),
    "EventRateLimit": lambda parts: EventRateLimit(parts.event_limits, parts.clock),
    "DefaultStorageClass": lambda parts: DefaultStorageClass(parts.cache),
    "StorageObjectInUseProtection": lambda parts: StorageObjectInUseProtection(),
    "PersistentVolumeClaimResize": lambda parts: PersistentVolumeClaimResize(parts.cache),
    "RuntimeClass": lambda parts: RuntimeClass(parts.cache),
    "CertificateApproval": lambda parts: CertificateApproval(parts.authorizer),
    "CertificateSigning": lambda parts: CertificateSigning(parts.authorizer),
    "CertificateSubjectRestriction": lambda parts: CertificateSubjectRestriction(),
    "DefaultIngressClass": lambda parts: DefaultIngressClass(parts.cache),
    "PodTopologyLabels": lambda parts: PodTopologyLabels(parts.cache),
    "DenyServiceExternalIPs": lambda parts: DenyServiceExternalIPs(),
    # Not plugins upstream but parts of its storage, so that nothing switches them off there either.
    "CertificateRequester": lambda parts: CertificateRequester(),
    "DeviceAdminAccess": lambda parts: DeviceAdminAccess(parts.cache),
    "RbacEscalation": lambda parts: RbacEscalation(parts.cache, parts.rbac, parts.authorizer),
}
_LAST: Makers = {
    "MutatingAdmissionPolicy": lambda parts: MutatingAdmissionPolicy(
        parts.cache, parts.registry, parts.matching, parts.authorizer
    ),
    "MutatingAdmissionWebhook": lambda parts: MutatingAdmissionWebhook(
        parts.cache, parts.authorizer, parts.matching, parts.webhooks
    ),
    "ValidatingAdmissionPolicy": lambda parts: ValidatingAdmissionPolicy(
        parts.cache, parts.registry, parts.matching, parts.authorizer
    ),
    "ValidatingAdmissionWebhook": lambda parts: ValidatingAdmissionWebhook(
        parts.cache, parts.authorizer, parts.matching, parts.webhooks
    ),
    "ResourceQuota": lambda parts: ResourceQuota(parts.cache, parts.clock),
}
_OFF = frozenset({"AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit", "ExtendedResourceToleration"})
_ALWAYS = frozenset({"CertificateRequester", "DeviceAdminAccess", "RbacEscalation"})


def build(parts: Parts, selected: Selected) -> Iterator[Plugin]:
    """The plugins that are on. Raises ValueError for a name that is not known."""
    known = {**_FIRST, **_LAST}
    for name in (*selected.enable, *selected.disable):
        if name not in known or name in _ALWAYS:
            choices = ", ".join(sorted(known.keys() - _ALWAYS))
            raise ValueError(f'there is no admission plugin "{name}"; there are: {choices}')
    on = known.keys() - _OFF | set(selected.enable)
    on -= set(selected.disable)
    parts = replace(parts, selected=selected)
    yield from (make(parts) for name, make in _FIRST.items() if name in on)
    lookup = Lookup(parts.registry, parts.cache)
    yield from (Outside(name, make(lookup)) for name, make in selected.outside.items())
    yield from (make(parts) for name, make in _LAST.items() if name in on)
