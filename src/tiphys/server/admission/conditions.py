"""Expressions about an admission request: their variables taken from it, and the matchConditions of webhooks.

Source: upstream's `apiserver/pkg/admission/plugin/webhook/matchconditions/matcher.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tiphys.api.http import User
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes
from tiphys.server.admission.review import review
from tiphys.server.authz import Authorizer
from tiphys.server.route import Target

if TYPE_CHECKING:
    from tiphys.api.cel.library.authorizer import Decide

Condition = Callable[[Attributes, AnyResource], bool]


def compile_conditions(conditions: Sequence[Json], authorizer: Authorizer) -> Condition:
    """A function of a request and of the version that the webhook sees: whether all conditions hold.

    It raises `PolicyError` where none is false but some cannot be evaluated; the webhook's failurePolicy decides then.
    """
    # Only those who have conditions load the language.
    from tiphys.api.cel.environment import Budget
    from tiphys.api.cel.kubernetes import MATCH_CONDITIONS_BUDGET
    from tiphys.api.policies.compiled import Conditions
    from tiphys.api.policies.environment import policy_environment

    compiled = Conditions(conditions, policy_environment())

    def holds(attributes: Attributes, resource: AnyResource) -> bool:
        return compiled.hold(bindings(attributes, resource, authorizer), Budget(MATCH_CONDITIONS_BUDGET))

    return holds


def bindings(attributes: Attributes, resource: AnyResource, authorizer: Authorizer) -> dict[str, Any]:
    """The variables of expressions, with the objects as the version `resource` has them."""
    from tiphys.api.cel.library.authorizer import AuthorizerValue, ResourceCheck

    request = review(attributes, resource, "v1")["request"]
    objects = {"object": request.pop("object"), "oldObject": request.pop("oldObject")}
    del request["uid"]
    ask = AuthorizerValue(_decider(authorizer), attributes.user)
    requested = attributes.requested
    own = {"group": requested.group, "resource": requested.plural}
    optional = ("subresource", "namespace", "name")
    own |= {name: getattr(attributes, name) for name in optional if getattr(attributes, name)}
    return {
        **objects, "request": request, "namespaceObject": None, "authorizer": ask,
        "authorizer.requestResource": ResourceCheck(ask, own),
    }  # fmt: skip


def _decider(authorizer: Authorizer) -> Decide:
    def decide(user: User, asked: Mapping[str, str]) -> bool:
        given = {
            name: asked.get(name, "")
            for name in ("verb", "path", "group", "resource", "namespace", "name", "subresource")
        }
        return authorizer.allows(user, Target(**given))

    return decide
