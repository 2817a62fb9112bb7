"""FlowSchemas: which requests belong together, and which priority level they have.

Source: https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#flowschema
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tiphys.api.http import User
from tiphys.api.resource import Json
from tiphys.server.route import Target

_ANY = "*"
_ACCOUNTS = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Schema:
    """`rules` as upstream writes them; `flows` says what tells flows apart: ByUser, ByNamespace or nothing."""

    name: str
    uid: str
    level: str
    precedence: int
    flows: str
    rules: tuple[Json, ...]

    def matches(self, user: User, target: Target) -> bool:
        wanted = _on_resources if target.is_resource else _on_urls
        return any(_is_about(rule, user) and wanted(rule, target) for rule in self.rules)

    def flow(self, user: User, target: Target) -> str:
        """What tells this flow from the schema's others."""
        return {"ByUser": user.name, "ByNamespace": target.namespace}.get(self.flows, "")


def schema_of(obj: Json) -> Schema:
    spec, meta = obj["spec"], obj["metadata"]
    return Schema(
        meta["name"], meta["uid"], spec["priorityLevelConfiguration"]["name"], spec.get("matchingPrecedence") or 1000,
        (spec.get("distinguisherMethod") or {}).get("type", ""), tuple(spec.get("rules") or ()),
    )  # fmt: skip


def in_order(schemas: Iterable[Schema]) -> list[Schema]:
    """Of several that match, the first counts."""
    return sorted(schemas, key=lambda schema: (schema.precedence, schema.name))


def _is_about(rule: Json, user: User) -> bool:
    for subject in rule.get("subjects") or ():
        kind = subject.get("kind")
        if kind == "User" and subject["user"]["name"] in (_ANY, user.name):
            return True
        if kind == "Group" and (subject["group"]["name"] == _ANY or subject["group"]["name"] in user.groups):
            return True
        if kind == "ServiceAccount" and user.name.startswith(_ACCOUNTS):
            namespace, _, name = user.name[len(_ACCOUNTS) :].partition(":")
            account = subject["serviceAccount"]
            if account["namespace"] == namespace and account["name"] in (_ANY, name):
                return True
    return False


def _on_resources(rule: Json, target: Target) -> bool:
    resource = f"{target.resource}/{target.subresource}" if target.subresource else target.resource
    return any(
        _holds(each.get("verbs"), target.verb)
        and _holds(each.get("apiGroups"), target.group)
        and _holds(each.get("resources"), resource)
        and (_holds(each.get("namespaces"), target.namespace) if target.namespace else bool(each.get("clusterScope")))
        for each in rule.get("resourceRules") or ()
    )


def _on_urls(rule: Json, target: Target) -> bool:
    return any(
        _holds(each.get("verbs"), target.verb)
        and any(_covers(url, target.path) for url in each.get("nonResourceURLs") or ())
        for each in rule.get("nonResourceRules") or ()
    )


def _holds(values: list[str] | None, value: str) -> bool:
    return values is not None and (value in values or _ANY in values)


def _covers(url: str, path: str) -> bool:
    return url in (_ANY, path) or (url.endswith("/*") and path.startswith(url[:-1]))
