"""`authorizer.group('apps').resource('deployments').check('create').allowed()`: asking who may do what.

The question is answered by the function that the authorizer was made with, so that nothing here knows a server.
Source: upstream's `apiserver/pkg/cel/library/authz.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tiphys.api.cel import costs
from tiphys.api.cel.declare import Library
from tiphys.api.cel.types import Struct
from tiphys.api.cel.values import Opaque
from tiphys.api.http import User

# May the user do this? The attributes are verb, and path, or group, resource, subresource, namespace and name.
Decide = Callable[[User, Mapping[str, str]], bool]

_PREFIX = "kubernetes.authorization."
_CHECK_COST = 350_000


@dataclass(frozen=True, slots=True)
class AuthorizerValue(Opaque):
    decide: Decide
    user: User
    cel_type = Struct(f"{_PREFIX}Authorizer")


@dataclass(frozen=True, slots=True)
class PathCheck(Opaque):
    authorizer: AuthorizerValue
    path: str
    cel_type = Struct(f"{_PREFIX}PathCheck")


@dataclass(frozen=True, slots=True)
class GroupCheck(Opaque):
    authorizer: AuthorizerValue
    group: str
    cel_type = Struct(f"{_PREFIX}GroupCheck")


@dataclass(frozen=True, slots=True)
class ResourceCheck(Opaque):
    authorizer: AuthorizerValue
    attributes: Mapping[str, str] = field(default_factory=dict)
    cel_type = Struct(f"{_PREFIX}ResourceCheck")

    def having(self, name: str, value: str) -> ResourceCheck:
        return replace(self, attributes={**self.attributes, name: value})


@dataclass(frozen=True, slots=True)
class Decision(Opaque):
    allowed: bool
    cel_type = Struct(f"{_PREFIX}Decision")


AUTHORIZER = Library({
    "authorizer": (AuthorizerValue.cel_type, AuthorizerValue), "path": (PathCheck.cel_type, PathCheck),
    "group": (GroupCheck.cel_type, GroupCheck), "resource": (ResourceCheck.cel_type, ResourceCheck),
    "decision": (Decision.cel_type, Decision),
})  # fmt: skip
_add = AUTHORIZER.add


def _service_account(authorizer: AuthorizerValue, namespace: str, name: str) -> AuthorizerValue:
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return replace(authorizer, user=User(f"system:serviceaccount:{namespace}:{name}", groups=groups))


def _check_path(check: PathCheck, verb: str) -> Decision:
    return Decision(check.authorizer.decide(check.authorizer.user, {"verb": verb, "path": check.path}))


def _check_resource(check: ResourceCheck, verb: str) -> Decision:
    return Decision(check.authorizer.decide(check.authorizer.user, {**check.attributes, "verb": verb}))


def _resource(check: GroupCheck, resource: str) -> ResourceCheck:
    return ResourceCheck(check.authorizer, {"group": check.group, "resource": resource})


def _setter(name: str) -> Callable[[ResourceCheck, str], ResourceCheck]:
    return lambda check, value: check.having(name, value)


def _ask(_args: costs.Args, _result: Any) -> int:
    return _CHECK_COST


def _selector(args: costs.Args, _result: Any) -> int:
    length = len(args[1])
    return 10 + costs.tenth(length) + -(-length // 2) * 50


def _declare() -> None:
    _add("authorizer_path", "authorizer.path(string) path", PathCheck)
    _add("authorizer_group", "authorizer.group(string) group", GroupCheck)
    _add("authorizer_serviceaccount", "authorizer.serviceAccount(string, string) authorizer", _service_account)
    _add("groupcheck_resource", "group.resource(string) resource", _resource)
    for name in ("subresource", "namespace", "name"):
        _add(f"resourcecheck_{name}", f"resource.{name}(string) resource", _setter(name))
    for name in ("fieldSelector", "labelSelector"):
        _add(f"authorizer_{name.lower()}", f"resource.{name}(string) resource", _setter(name), _selector)
    _add("pathcheck_check", "path.check(string) decision", _check_path, _ask)
    _add("resourcecheck_check", "resource.check(string) decision", _check_resource, _ask)
    _add("decision_errored", "decision.errored() bool", lambda decision: False)
    _add("decision_error", "decision.error() string", lambda decision: "")
    _add("decision_allowed", "decision.allowed() bool", lambda decision: decision.allowed)
    _add("decision_reason", "decision.reason() string", lambda decision: "")


_declare()
