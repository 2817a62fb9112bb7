"""Who asks the kubelet, and whether they may: certificates and tokens, judged by the API server's RBAC.

A caller shows a client certificate of the cluster's CA or a bearer token, which the API server is asked about. What is
wanted counts as a subresource of this Node: `metrics`, `stats`, `log`, `pods`, `healthz`, `configz` or `proxy`. Answers
are remembered for upstream's times. The API server itself and cluster administrators are not asked about, so that logs
and commands do not depend on a second connection.
Source: https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tiphys.api.errors import ApiError
from tiphys.api.http import User
from tiphys.base.clock import Clock
from tiphys.client.client import Client
from tiphys.client.transport import Unreachable
from tiphys.kinds.authentication.tokenreview import TOKEN_REVIEWS
from tiphys.kinds.authorization.subjectaccessreview import SUBJECT_ACCESS_REVIEWS

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MASTERS, _API_SERVER = "system:masters", "kube-apiserver-kubelet-client"
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# First part of the path -> the subresources of which one must be allowed.
_SUBRESOURCES = {
    "stats": ("stats",), "metrics": ("metrics",), "logs": ("log",), "pods": ("pods", "proxy"),
    "healthz": ("healthz", "proxy"), "configz": ("configz", "proxy"),
}  # fmt: skip
# For how long an answer holds, in seconds: who a token is, that somebody may, that somebody may not.
_TOKEN, _ALLOWED, _REFUSED = 120.0, 300.0, 30.0
_MOST = 1024


class _Answers:
    """What was found, until it is too old; the oldest go first when there are too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: OrderedDict[Any, tuple[float, Any]] = OrderedDict()

    def get(self, key: Any) -> Any:
        end, answer = self._found.get(key, (0.0, None))
        return answer if self._clock.monotonic() < end else None

    def put(self, key: Any, answer: Any, seconds: float) -> None:
        self._found[key] = (self._clock.monotonic() + seconds, answer)
        self._found.move_to_end(key)
        if len(self._found) > _MOST:
            self._found.popitem(last=False)


class Access:
    """The middleware `guard` lets through whoever may ask what they ask of the node's kubelet."""

    def __init__(self, client: Client, node: str, clock: Clock) -> None:
        self._client, self._node = client, node
        self._users, self._verdicts = _Answers(clock), _Answers(clock)

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        certified = _certified(request.transport)
        refusal = None if certified is not None and _trusted(certified) else await self._refusal(request, certified)
        return await handler(request) if refusal is None else refusal

    async def _refusal(self, request: web.Request, certified: User | None) -> web.Response | None:
        verb = _VERBS.get(request.method, "")
        subresources = _SUBRESOURCES.get(request.path.split("/")[1], ("proxy",))
        try:
            user = certified or await self._token(request.headers.get("authorization", ""))
            if user is None:
                return web.Response(status=401, text="Unauthorized")
            if await self._allowed(user, verb, subresources):
                return None
        except (ApiError, Unreachable) as error:
            return web.Response(status=500, text=f"the API server cannot be asked whether this is allowed: {error}")
        wanted = " ".join(subresources)
        said = f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{wanted}])\n"
        return web.Response(status=403, text=said)

    async def _token(self, header: str) -> User | None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return None
        # Tokens themselves are kept nowhere.
        key = hashlib.sha256(token.encode()).digest()
        user: User | None = self._users.get(key)
        if user is None:
            review = await self._client.of(TOKEN_REVIEWS).create_json({"spec": {"token": token.strip()}})
            status = review.get("status") or {}
            if not status.get("authenticated"):
                return None
            found = status["user"]
            extra = {name: tuple(values) for name, values in (found.get("extra") or {}).items()}
            user = User(found.get("username", ""), found.get("uid", ""), tuple(found.get("groups") or ()), extra)
            self._users.put(key, user, _TOKEN)
        return user

    async def _allowed(self, user: User, verb: str, subresources: tuple[str, ...]) -> bool:
        for subresource in subresources:
            key = (user.name, user.uid, user.groups, verb, subresource)
            verdict = self._verdicts.get(key)
            if verdict is None:
                verdict = await self._ask(user, verb, subresource)
                self._verdicts.put(key, verdict, _ALLOWED if verdict else _REFUSED)
            if verdict:
                return True
        return False

    async def _ask(self, user: User, verb: str, subresource: str) -> bool:
        attributes = {
            "verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource, "name": self._node,
        }  # fmt: skip
        spec = {
            "user": user.name, "uid": user.uid, "groups": list(user.groups), "resourceAttributes": attributes,
            "extra": {name: list(values) for name, values in user.extra.items()},
        }  # fmt: skip
        review = await self._client.of(SUBJECT_ACCESS_REVIEWS).create_json({"spec": spec})
        return bool((review.get("status") or {}).get("allowed"))


def _certified(transport: asyncio.BaseTransport | None) -> User | None:
    """Who the client certificate names, if there is one; the TLS context has verified it."""
    found = transport.get_extra_info("peercert") if transport is not None else None
    pairs = [pair for part in (found or {}).get("subject", ()) for pair in part]
    names = [value for kind, value in pairs if kind == "commonName"]
    if not names:
        return None
    groups = tuple(value for kind, value in pairs if kind == "organizationName")
    return User(names[0], groups=(*groups, "system:authenticated"))


def _trusted(user: User) -> bool:
    return user.name == _API_SERVER or _MASTERS in user.groups
