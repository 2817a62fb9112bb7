"""RBAC's guard against escalation: nobody grants by a role or binding what they are not granted themselves.

Who has the verb `escalate` on the role, or `bind` for a binding, may. Source:
https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tiphys.api import errors
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.authz import MASTERS, Authorizer, Rbac, Rule, compiled
from tiphys.server.cache import Cache
from tiphys.server.route import Target

_GROUP = "rbac.authorization.k8s.io"
_ROLES, _BINDINGS = ("roles", "clusterroles"), ("rolebindings", "clusterrolebindings")


class RbacEscalation(Plugin):
    resources = (*((_GROUP, plural) for plural in (*_ROLES, *_BINDINGS)),)

    def __init__(self, cache: Cache, rbac: Rbac, authorizer: Authorizer) -> None:
        self._cache, self._rbac, self._authorizer = cache, rbac, authorizer

    async def validate(self, attributes: Attributes) -> None:
        resource, new = attributes.resource, attributes.obj
        if resource.group != _GROUP or new is None or MASTERS in attributes.user.groups:
            return
        if resource.plural in _ROLES:
            if attributes.old is None or (attributes.old.get("rules") or []) != (new.get("rules") or []):
                self._check(attributes, "escalate", resource.plural, attributes.name, new.get("rules") or ())
        elif resource.plural in _BINDINGS and (attributes.old is None or attributes.old != new):
            role = new["roleRef"]
            plural = "clusterroles" if role["kind"] == "ClusterRole" else "roles"
            self._check(attributes, "bind", plural, role["name"], self._rules_of(plural, role["name"], attributes))

    def _rules_of(self, plural: str, name: str, attributes: Attributes) -> Sequence[Json]:
        prefix = f"/registry/{_GROUP}/{plural}/"
        key = f"{prefix}{name}" if plural == "clusterroles" else f"{prefix}{attributes.namespace}/{name}"
        entry = self._cache.of(prefix).items.get(key)
        if entry is None:
            resource = f"{plural[:-1]}.{_GROUP}"
            raise errors.NotFound(f'{resource} "{name}" not found', details={"name": name, "kind": plural})
        return entry.decode().get("rules") or ()

    def _check(self, attributes: Attributes, verb: str, plural: str, name: str, rules: Iterable[Json]) -> None:
        user, namespace = attributes.user, attributes.namespace
        if self._authorizer.allows(user, Target(verb, "", _GROUP, "v1", namespace, plural, name)):
            return
        held = list(self._rbac.rules(user, namespace))
        missing = [rule for rule in rules if not _covered(compiled(rule), held)]
        if missing:
            shown = ", ".join(_shown(rule) for rule in missing)
            why = (
                f'user "{user.name}" (groups={list(user.groups)}) is attempting to grant RBAC permissions not '
                f"currently held:\n{shown}"
            )
            raise errors.denied(_GROUP, attributes.resource.plural, attributes.name, why)


def _covered(wanted: Rule, held: Sequence[Rule]) -> bool:
    """Every single right of `wanted` is given by some rule that is held."""
    return all(any(_gives(rule, single) for rule in held) for single in _singles(wanted))


def _singles(rule: Rule) -> Iterator[Rule]:
    for verb in rule.verbs:
        for url in rule.urls:
            yield Rule(frozenset({verb}), frozenset(), frozenset(), frozenset(), (url,))
        for group in rule.groups:
            for resource in rule.resources:
                for name in rule.names or {""}:
                    names = frozenset({name}) if name else frozenset()
                    yield Rule(frozenset({verb}), frozenset({group}), frozenset({resource}), names, ())


def _gives(held: Rule, single: Rule) -> bool:
    if not (single.verbs <= held.verbs or "*" in held.verbs):
        return False
    if single.urls:
        url = single.urls[0]
        return any(own == url or (own[-1:] == "*" and url.startswith(own[:-1])) for own in held.urls)
    (resource,) = single.resources
    _, _, subresource = resource.partition("/")
    return (
        (single.groups <= held.groups or "*" in held.groups)
        and (resource in held.resources or "*" in held.resources or f"*/{subresource}" in held.resources)
        and (not held.names or (bool(single.names) and single.names <= held.names))
    )


def _shown(rule: Json) -> str:
    fields = (("APIGroups", "apiGroups"), ("Resources", "resources"), ("NonResourceURLs", "nonResourceURLs"))
    parts = [f"{label}:{rule[name]}" for label, name in (*fields, ("Verbs", "verbs")) if rule.get(name)]
    return "{" + ", ".join(parts) + "}"
