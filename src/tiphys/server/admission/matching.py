"""Which requests a webhook or an admission policy wants: rules, selectors, and other versions of the same resource.

A `Criteria` is compiled once per webhook or policy; `Matching.find` asks it of a request and answers with the resource
*version* in which the webhook or policy wants to see the object, which need not be the version of the request
(matchPolicy Equivalent). matchConditions come after that and are not looked at here.
Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiphys.api import errors
from tiphys.api.registry import AnyResource, Registry
from tiphys.api.resource import Json
from tiphys.api.selectors import LabelSelector, from_object
from tiphys.server.admission.chain import Attributes
from tiphys.server.cache import Cache

_NAMESPACES = "/registry/core/namespaces/"
_GROUP = "admissionregistration.k8s.io"
# Never sent to webhooks nor judged by policies, or a broken one could not be removed any more.
_EXEMPT = frozenset(
    ("validatingwebhookconfigurations", "mutatingwebhookconfigurations", "validatingadmissionpolicies",
     "validatingadmissionpolicybindings", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings")
)  # fmt: skip


def exempt(attributes: Attributes) -> bool:
    """Whether the request is about admission itself, which nothing configurable may get in the way of."""
    return attributes.resource.group == _GROUP and attributes.resource.plural in _EXEMPT


@dataclass(frozen=True, slots=True)
class Rule:
    """One RuleWithOperations; `names` are the resourceNames that only policies have, empty for all."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    # (resource, subresource), each perhaps "*".
    resources: Sequence[tuple[str, str]]
    scope: str
    names: frozenset[str]

    @classmethod
    def of(cls, rule: Json) -> Rule:
        resources = [resource.partition("/") for resource in rule.get("resources") or ()]
        return cls(
            frozenset(rule.get("operations") or ()), frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("apiVersions") or ()), [(name, sub) for name, _, sub in resources],
            rule.get("scope") or "*", frozenset(rule.get("resourceNames") or ()),
        )  # fmt: skip

    def matches(self, attributes: Attributes, resource: AnyResource) -> bool:
        """Whether the rule names the request, were it made by `resource`'s group and version."""
        return (
            _has(self.operations, attributes.operation)
            and _has(self.groups, resource.group)
            and _has(self.versions, resource.version)
            and self._in_scope(attributes)
            and (not self.names or attributes.name in self.names)
            and any(
                name in ("*", resource.plural) and sub in ("*", attributes.subresource) for name, sub in self.resources
            )
        )

    def _in_scope(self, attributes: Attributes) -> bool:
        if self.scope == "*":
            return True
        return (self.scope == "Namespaced") == attributes.resource.namespaced


def _has(wanted: frozenset[str], value: str) -> bool:
    return value in wanted or "*" in wanted


@dataclass(frozen=True, slots=True)
class Criteria:
    rules: Sequence[Rule]
    excluded: Sequence[Rule]
    namespaces: LabelSelector
    objects: LabelSelector
    equivalent: bool
    # Without any rule: everything (bindings of policies) or nothing (webhooks).
    open: bool = False

    @classmethod
    def of_webhook(cls, webhook: Json) -> Criteria:
        return cls._of(webhook, webhook.get("rules"), (), opened=False)

    @classmethod
    def of_policy(cls, match: Json | None) -> Criteria:
        """`match` is a policy's matchConstraints or a binding's matchResources; absent, it matches everything."""
        match = match or {}
        return cls._of(match, match.get("resourceRules"), match.get("excludeResourceRules"), opened=True)

    @classmethod
    def _of(cls, match: Json, rules: Any, excluded: Any, *, opened: bool) -> Criteria:
        compiled = [Rule.of(rule) for rule in rules or ()]
        return cls(
            compiled, [Rule.of(rule) for rule in excluded or ()], from_object(match.get("namespaceSelector") or {}),
            from_object(match.get("objectSelector") or {}), match.get("matchPolicy") != "Exact",
            opened and not compiled,
        )  # fmt: skip


class Matching:
    """Answers for one server; `registry` tells which versions of a resource there are."""

    def __init__(self, registry: Registry, cache: Cache) -> None:
        self._registry = registry
        self._namespaces = cache.of(_NAMESPACES)

    def find(self, criteria: Criteria, attributes: Attributes) -> AnyResource | None:
        """The version to show the object in, or None where the request is not wanted.

        Raises NotFound where the namespace whose labels decide does not exist.
        """
        if not _matches_objects(criteria.objects, attributes):
            return None
        if self._by_rules(criteria.excluded, criteria, attributes) is not None:
            return None
        found = attributes.requested if criteria.open else self._by_rules(criteria.rules, criteria, attributes)
        if found is None or not self._matches_namespace(criteria.namespaces, attributes):
            return None
        return found

    def namespace(self, attributes: Attributes) -> Json | None:
        """The Namespace object that the request is in, or None for cluster-scoped requests. Raises NotFound."""
        name = attributes.namespace
        if not name:
            return None
        entry = self._namespaces.items.get(_NAMESPACES + name)
        if entry is None:
            raise errors.no_such("", "namespaces", name)
        return entry.decode()

    def _by_rules(self, rules: Iterable[Rule], criteria: Criteria, attributes: Attributes) -> AnyResource | None:
        requested = attributes.requested
        if any(rule.matches(attributes, requested) for rule in rules):
            return requested
        if not criteria.equivalent:
            return None
        others = self._others(attributes)
        return next((other for rule in rules for other in others if rule.matches(attributes, other)), None)

    def _others(self, attributes: Attributes) -> list[AnyResource]:
        """The same resource as served otherwise: by another version, or (events) by another group."""
        hub, requested = attributes.resource, attributes.requested
        if attributes.operation == "CONNECT":
            return []
        return [other for other in self._registry.same(hub) if other is not requested]

    def _matches_namespace(self, selector: LabelSelector, attributes: Attributes) -> bool:
        if selector.is_everything:
            return True
        namespaced = attributes.resource.namespaced
        if not namespaced and not attributes.is_of("", "namespaces"):
            return True
        if not namespaced and not attributes.subresource and attributes.operation in ("CREATE", "UPDATE"):
            return selector.matches(_labels(attributes.obj))
        entry = self._namespaces.items.get(_NAMESPACES + (attributes.namespace or attributes.name))
        if entry is None:
            raise errors.no_such("", "namespaces", attributes.namespace)
        return selector.matches(entry.labels)


def _matches_objects(selector: LabelSelector, attributes: Attributes) -> bool:
    """Either of the old and the new object will do; a request without an object has no labels to select by."""
    if selector.is_everything:
        return True
    return any(selector.matches(_labels(obj)) for obj in (attributes.obj, attributes.old) if obj and "metadata" in obj)


def _labels(obj: Json | None) -> Mapping[str, str]:
    found: Mapping[str, str] = ((obj or {}).get("metadata") or {}).get("labels") or {}
    return found
