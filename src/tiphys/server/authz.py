"""Authorization: superusers, the Node authorizer's rules, then RBAC. What none allows is forbidden.

Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tiphys.api.errors import Forbidden
from tiphys.api.http import User
from tiphys.api.resource import Json
from tiphys.server.cache import Cache, Collection
from tiphys.server.route import Target

MASTERS = "system:masters"
_RBAC = "/registry/rbac.authorization.k8s.io/"
_CACHED = 8192


class Authorizer(Protocol):
    def allows(self, user: User, target: Target) -> bool: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """A PolicyRule as sets; `namespace` is where it holds, empty for everywhere."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    urls: tuple[str, ...]
    namespace: str = ""

    def allows(self, target: Target) -> bool:
        if target.verb not in self.verbs and "*" not in self.verbs:
            return False
        if not target.is_resource:
            return any(
                url == target.path or (url[-1:] == "*" and target.path.startswith(url[:-1])) for url in self.urls
            )
        if self.namespace and self.namespace != target.namespace:
            return False
        if target.group not in self.groups and "*" not in self.groups:
            return False
        if self.names and target.name not in self.names:
            return False
        return self._allows_resource(target)

    def _allows_resource(self, target: Target) -> bool:
        if "*" in self.resources:
            return True
        if not target.subresource:
            return target.resource in self.resources
        return (
            f"{target.resource}/{target.subresource}" in self.resources or f"*/{target.subresource}" in self.resources
        )


class Rbac:
    """Evaluates roles and bindings straight from the cache; what it compiled is dropped when any of them changes."""

    def __init__(self, cache: Cache) -> None:
        names = ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
        self._kinds = [cache.of(f"{_RBAC}{name}/") for name in names]
        self._seen: tuple[int, ...] = ()
        self._subjects: dict[tuple[str, str], list[Rule]] = {}
        self._decisions: dict[tuple[object, ...], bool] = {}

    def allows(self, user: User, target: Target) -> bool:
        self._refresh()
        path = "" if target.is_resource else target.path
        key = (
            user.name, tuple(user.groups), target.verb, target.group, target.resource, target.subresource,
            target.namespace, target.name, path,
        )  # fmt: skip
        known = self._decisions.get(key)
        if known is None:
            if len(self._decisions) >= _CACHED:
                self._decisions.clear()
            known = self._decisions[key] = any(rule.allows(target) for rule in self._rules_of(user))
        return known

    def rules(self, user: User, namespace: str) -> Iterator[Rule]:
        """The rules that hold for `user` in `namespace`."""
        self._refresh()
        return (rule for rule in self._rules_of(user) if rule.namespace in ("", namespace))

    def _rules_of(self, user: User) -> Iterator[Rule]:
        yield from self._subjects.get(("User", user.name), ())
        for group in user.groups:
            yield from self._subjects.get(("Group", group), ())

    def _refresh(self) -> None:
        seen = tuple(kind.changed for kind in self._kinds)
        if seen != self._seen:
            self._decisions.clear()
            self._subjects = self._compile()
            self._seen = seen

    def _compile(self) -> dict[tuple[str, str], list[Rule]]:
        cluster_roles, cluster_bindings, roles, bindings = self._kinds
        by_name = {("", entry.name): _rules(entry.decode()) for entry in cluster_roles.items.values()}
        by_name |= {(entry.namespace, entry.name): _rules(entry.decode()) for entry in roles.items.values()}
        subjects: dict[tuple[str, str], list[Rule]] = {}
        for binding, namespace in (*_bindings(cluster_bindings), *_bindings(bindings)):
            role = binding["roleRef"]
            where = "" if role["kind"] == "ClusterRole" else namespace
            for rule in by_name.get((where, role["name"]), ()):
                bound = compiled(rule, namespace)
                for subject in binding.get("subjects") or ():
                    subjects.setdefault(_subject(subject, namespace), []).append(bound)
        return subjects


def _bindings(collection: Collection) -> Iterator[tuple[Json, str]]:
    for entry in collection.items.values():
        yield entry.decode(), entry.namespace


def _rules(role: Json) -> Sequence[Json]:
    return role.get("rules") or ()


def compiled(rule: Json, namespace: str = "") -> Rule:
    def names(field: str) -> frozenset[str]:
        return frozenset(rule.get(field) or ())

    # A namespaced binding grants nothing outside of namespaces.
    urls: Iterable[str] = () if namespace else rule.get("nonResourceURLs") or ()
    return Rule(
        names("verbs"), names("apiGroups"), names("resources"), names("resourceNames"), tuple(urls), namespace
    )  # fmt: skip


def _subject(subject: Json, namespace: str) -> tuple[str, str]:
    if subject["kind"] == "ServiceAccount":
        return "User", f"system:serviceaccount:{subject.get('namespace') or namespace}:{subject['name']}"
    return subject["kind"], subject["name"]


class Union:
    """Allowed if any member allows; superusers always are."""

    def __init__(self, members: Sequence[Authorizer]) -> None:
        self._members = members

    def allows(self, user: User, target: Target) -> bool:
        return MASTERS in user.groups or any(member.allows(user, target) for member in self._members)


def refusal(user: User, target: Target) -> Forbidden:
    """The error of a request that nothing allows, in upstream's words."""
    if not target.is_resource:
        return Forbidden(f'forbidden: User "{user.name}" cannot {target.verb} path "{target.path}"')
    resource = f"{target.resource}/{target.subresource}" if target.subresource else target.resource
    where = f' in the namespace "{target.namespace}"' if target.namespace else " at the cluster scope"
    qualified = f"{target.resource}.{target.group}" if target.group else target.resource
    shown = f' "{target.name}"' if target.name else ""
    details = {"kind": target.resource} | ({"name": target.name} if target.name else {})
    if target.group:
        details["group"] = target.group
    return Forbidden(
        f'{qualified}{shown} is forbidden: User "{user.name}" cannot {target.verb} resource "{resource}" '
        f'in API group "{target.group}"{where}',
        details=details,
    )
