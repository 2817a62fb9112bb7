"""Reviews: may I, may they, whose token is this, who am I.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api import errors
from tiphys.api.http import Response, User
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.server import objects
from tiphys.server.app import ApiServer
from tiphys.server.authz import Rbac
from tiphys.server.call import Call
from tiphys.server.route import Target
from tiphys.server.tokens import Tokens

_AUTHZ, _AUTHN = "authorization.k8s.io", "authentication.k8s.io"


def install(server: ApiServer, rbac: Rbac, tokens: Tokens) -> None:
    def answer(call: Call, review: Json, status: Json) -> Response:
        spec = review.get("spec") or {}
        body = {
            "kind": call.resource.kind, "apiVersion": call.resource.api_version,
            "metadata": review.get("metadata") or {}, "spec": spec, "status": status,
        }  # fmt: skip
        return Response(201, orjson.dumps(body))

    def decide(user: User, spec: Json) -> Json:
        target = _target(spec)
        allowed = server.authorizer.allows(user, target)
        return {"allowed": allowed} if allowed else {"allowed": False, "reason": ""}

    async def self_access(call: Call) -> Response:
        review = _review(call)
        return answer(call, review, decide(call.user, _spec(call, review)))

    async def access(call: Call) -> Response:
        review = _review(call)
        spec = _spec(call, review)
        if not spec.get("user") and not spec.get("groups"):
            problem = errors.invalid("spec.user", "", "at least one of user or group must be specified")
            raise errors.invalid_object(_AUTHZ, call.resource.kind, "", [problem])
        user = User(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups") or ()), spec.get("extra") or {})
        return answer(call, review, decide(user, spec))

    async def rules(call: Call) -> Response:
        review = _review(call)
        namespace = (review.get("spec") or {}).get("namespace", "")
        if not namespace:
            raise errors.BadRequest("no namespace on request")
        return answer(call, review, _rules(rbac, call.user, namespace))

    async def self_subject(call: Call) -> Response:
        status = {"userInfo": _info(call.user)}
        meta = {"creationTimestamp": rfc3339(call.now)}
        body = {"kind": call.resource.kind, "apiVersion": call.resource.api_version, "metadata": meta, "status": status}
        return Response(201, orjson.dumps(body))

    async def token(call: Call) -> Response:
        review = _review(call)
        spec = review.get("spec") or {}
        found = tokens.review(spec.get("token", ""), spec.get("audiences") or [tokens.issuer])
        if found is None:
            return answer(call, review, {"user": {}, "error": "invalid bearer token"})
        status: Json = {"authenticated": True, "user": _info(found[0]), "audiences": found[1]}
        return answer(call, review, status)

    creates = server.extensions.creates
    creates[_AUTHZ, "selfsubjectaccessreviews"] = self_access
    creates[_AUTHZ, "subjectaccessreviews"] = access
    creates[_AUTHZ, "localsubjectaccessreviews"] = access
    creates[_AUTHZ, "selfsubjectrulesreviews"] = rules
    creates[_AUTHN, "selfsubjectreviews"] = self_subject
    creates[_AUTHN, "tokenreviews"] = token


def _review(call: Call) -> Json:
    body = objects.parse(call.request.body, call.request.headers.get("content-type", ""))
    if not isinstance(body, dict):
        raise errors.BadRequest("a JSON object is needed")
    return body


def _spec(call: Call, review: Json) -> Json:
    spec: Json = review.get("spec") or {}
    if bool(spec.get("resourceAttributes")) == bool(spec.get("nonResourceAttributes")):
        problem = errors.invalid(
            "spec.resourceAttributes",
            None,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )
        raise errors.invalid_object(_AUTHZ, call.resource.kind, "", [problem])
    return spec


def _target(spec: Json) -> Target:
    resource, url = spec.get("resourceAttributes"), spec.get("nonResourceAttributes") or {}
    if not resource:
        return Target(url.get("verb", ""), url.get("path", ""))
    return Target(
        resource.get("verb", ""), "", resource.get("group", ""), resource.get("version", ""),
        resource.get("namespace", ""), resource.get("resource", "") or "*", resource.get("name", ""),
        resource.get("subresource", ""),
    )  # fmt: skip


def _info(user: User) -> Json:
    info: Json = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {name: list(values) for name, values in user.extra.items()}
    return info


def _rules(rbac: Rbac, user: User, namespace: str) -> Json:
    resource_rules: list[dict[str, Any]] = []
    url_rules: list[dict[str, Any]] = []
    if "system:masters" in user.groups:
        resource_rules.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
        url_rules.append({"verbs": ["*"], "nonResourceURLs": ["*"]})
    for rule in rbac.rules(user, namespace):
        if rule.urls:
            url_rules.append({"verbs": sorted(rule.verbs), "nonResourceURLs": list(rule.urls)})
        if rule.resources:
            shown: dict[str, Any] = {"verbs": sorted(rule.verbs), "apiGroups": sorted(rule.groups)}
            shown["resources"] = sorted(rule.resources)
            if rule.names:
                shown["resourceNames"] = sorted(rule.names)
            resource_rules.append(shown)
    return {"resourceRules": resource_rules, "nonResourceRules": url_rules, "incomplete": False}
