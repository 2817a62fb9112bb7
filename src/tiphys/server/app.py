"""The API server's core: one function from Request to Response, free of any HTTP framework.

Order: authentication was done by whoever made the Request (`user`); here follow flow control, authorization, routing,
the verbs, and every failure turned into a Status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import orjson

from tiphys import store
from tiphys.api import errors
from tiphys.api.http import JSON, Request, Response, User
from tiphys.api.registry import AnyResource, Registry
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.server.admission.chain import Chain
from tiphys.server.authz import Authorizer, refusal
from tiphys.server.cache import Cache
from tiphys.server.call import Call
from tiphys.server.deletion import Deletion
from tiphys.server.discovery import Discovery
from tiphys.server.flow_control.control import Class, FlowControl
from tiphys.server.negotiation import encoded, form_of
from tiphys.server.reads import Reads
from tiphys.server.request_metrics import RequestMetrics
from tiphys.server.route import Target, target_of
from tiphys.server.watches import Watches
from tiphys.server.writes import Writes

_log = Log("server")
ANONYMOUS = User("system:anonymous", groups=("system:unauthenticated",))
# Open to everybody: whether the server lives, and what it is.
PUBLIC = ("/healthz", "/livez", "/readyz", "/version")

CallHandler = Callable[[Call], Awaitable[Response]]
PageHandler = Callable[[Request], Awaitable[Response]]
GroupHandler = Callable[[Request, Target], Awaitable[Response]]


@dataclass(slots=True)
class Extensions:
    """What is served besides the generic verbs; filled by `server.assemble`.

    `creates` answers the creation of virtual resources, by (group, plural), `reads` their get and list; `subresources`
    are by (group, plural, name), with an empty group and plural "*" for all; `pages` are plain URLs, by path or by
    prefix ending in a slash; `groups` answer for all of an API group whose resources nobody can list beforehand;
    `remote` is the aggregation layer.
    """

    creates: dict[tuple[str, str], CallHandler] = field(default_factory=dict)
    reads: dict[tuple[str, str], CallHandler] = field(default_factory=dict)
    subresources: dict[tuple[str, str, str], CallHandler] = field(default_factory=dict)
    pages: dict[str, PageHandler] = field(default_factory=dict)
    groups: dict[str, GroupHandler] = field(default_factory=dict)
    # Asks the server that answers for the group version instead of this one, or gives None where none does.
    remote: Callable[[Request, User], Awaitable[Response | None]] | None = None

    def page(self, path: str) -> PageHandler | None:
        found = self.pages.get(path.rstrip("/") or "/")
        if found is not None:
            return found
        return next((self.pages[p] for p in self.pages if p.endswith("/") and len(p) > 1 and path.startswith(p)), None)


class ApiServer:
    def __init__(
        self, cache: Cache, registry: Registry, authorizer: Authorizer, admission: Chain, clock: Clock
    ) -> None:
        self.cache, self.registry, self.authorizer, self.clock = cache, registry, authorizer, clock
        self.admission = admission
        self.extensions = Extensions()
        self.metrics = RequestMetrics(registry)
        self.flow_control = FlowControl(cache, clock)
        self.watches = Watches(cache, clock, self.metrics)
        self.reads = Reads(cache, clock, self.watches)
        self.writes = Writes(cache, self.reads, admission, clock)
        self.writes.authorize_create = self._authorize_create
        self.deletion = Deletion(cache, self.reads, self.writes, admission)
        self.discovery = Discovery(registry)
        self._verbs: Mapping[str, CallHandler] = {
            "get": self.reads.get,
            "list": self.reads.list_,
            "watch": self.reads.watch,
            "create": self.writes.create,
            "update": self.writes.update,
            "patch": self.writes.patch,
            "delete": self.deletion.delete,
            "deletecollection": self.deletion.delete_collection,
        }

    async def handle(self, request: Request) -> Response:
        """Answer a request; never raises but for cancellation."""
        started = self.clock.monotonic()
        target = target_of(request)
        begun = self.metrics.begin(request, target)
        code = 499  # what a proxy writes for a client that did not wait
        try:
            response = await self._handled(request, target)
            code = response.status
            return response
        finally:
            self.metrics.end(begun, request, target, (code, self.clock.monotonic() - started))

    async def caught_up(self) -> None:
        """Return once the cache shows everything written before the call. Raises ServiceUnavailable."""
        try:
            await self.cache.fresh()
        except store.Unavailable as error:
            raise errors.ServiceUnavailable(f"the store does not answer: {error.reason}") from error

    async def _handled(self, request: Request, target: Target) -> Response:
        found: Class | None = None
        try:
            # Authorization, admission and reads all look at the cache: it must show every write acknowledged before.
            # Whether the server lives, and what it measures, is to be told also when its store is away.
            if request.path not in self.extensions.pages and not request.path.startswith(PUBLIC):
                await self.cache.fresh()
            user = self._user(request, target)
            found = None if request.inside else self.flow_control.classify(user, target)
            response = await self._paced(request, target, user, found)
        except errors.ApiError as error:
            response = failure(error)
        except store.Unavailable as error:
            response = failure(errors.ServiceUnavailable(f"the store does not answer: {error.reason}"))
        except Exception as error:  # noqa: BLE001 - the boundary: a defect becomes a 500 and a trace in the log
            _log.error("request failed", method=request.method, path=request.path, error=error)
            response = failure(errors.InternalError(f"Internal error occurred: {type(error).__name__}: {error}"))
        if found is not None:
            response.headers |= found.headers
        return await self._encoded(request, response)

    async def _paced(self, request: Request, target: Target, user: User, found: Class | None) -> Response:
        """The answer, once the request has its seats."""
        if found is None:
            return await self._answer(request, target, user)
        resource = self.registry.get(target.group, target.version, target.resource)
        wanted = self.flow_control.width(target, resource.prefix if resource else "", request.param("limit"))
        seats = await self.flow_control.enter(found, wanted)
        try:
            return await self._answer(request, target, user)
        finally:
            self.flow_control.leave(found, seats)

    async def _encoded(self, request: Request, response: Response) -> Response:
        """The answer in the encoding that the client accepts; what has no such form stays JSON."""
        if request.headers.get("accept", JSON) == JSON or response.content_type != JSON:
            return response
        with suppress(errors.NotAcceptable, KeyError):
            return await encoded(response, form_of(request).media)
        return response

    async def _answer(self, request: Request, target: Target, user: User) -> Response:
        self._authorize(user, request, target)
        if self.extensions.remote is not None:
            answered = await self.extensions.remote(request, user)
            if answered is not None:
                return answered
        if not target.is_resource:
            return await self._page(request)
        whole = self.extensions.groups.get(target.group)
        if whole is not None:
            return await whole(request, target)
        call = self.call(request, target, user)
        handler = self._handler(call)
        response = await handler(call)
        if call.warnings:
            response.headers["Warning"] = _warning_header(call.warnings)
        return response

    def _user(self, request: Request, target: Target) -> User:
        """Who asks, or is impersonated. Raises Unauthorized for nobody who wants what not everybody may."""
        if request.user is not None:
            return self._impersonated(request, request.user)
        # Nobody in particular may read what a role allows to everybody, as machines do that want to join.
        if _is_public(request, target) or self.authorizer.allows(ANONYMOUS, target):
            return ANONYMOUS
        raise errors.Unauthorized("Unauthorized")

    def _authorize(self, user: User, request: Request, target: Target) -> None:
        if not _is_public(request, target) and not self.authorizer.allows(user, target):
            raise refusal(user, target)

    def _authorize_create(self, call: Call) -> None:
        """A patch or update that turns out to create needs the right to create as well."""
        target = replace(call.target, verb="create")
        if not self.authorizer.allows(call.user, target):
            raise refusal(call.user, target)

    def _impersonated(self, request: Request, user: User) -> User:
        """The user that an `Impersonate-User` header asks to act as, if `user` may impersonate it."""
        name = request.headers.get("impersonate-user")
        if not name:
            return user
        groups = [part.strip() for part in request.headers.get("impersonate-group", "").split(",") if part.strip()]
        wanted = [("users", name), *(("groups", group) for group in groups)]
        if name.startswith("system:serviceaccount:"):
            _, _, namespace, account = name.split(":", 3)
            wanted[0] = ("serviceaccounts", account)
            groups += ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        for resource, value in wanted:
            target = Target("impersonate", request.path, resource=resource, name=value)
            if resource == "serviceaccounts":
                target.namespace = name.split(":")[2]
            if not self.authorizer.allows(user, target):
                raise refusal(user, target)
        if "system:authenticated" not in groups:
            groups.append("system:authenticated")
        return User(name, groups=tuple(groups))

    def call(self, request: Request, target: Target, user: User) -> Call:
        resource = self.registry.get(target.group, target.version, target.resource)
        if resource is None:
            raise errors.NotFound("the server could not find the requested resource")
        call = Call(request, target, resource, user, self.clock.time(), form_of(request, resource))
        if resource.deprecation_warning:
            call.warnings.append(resource.deprecation_warning)
        return call

    def _handler(self, call: Call) -> CallHandler:
        target, resource = call.target, call.resource
        if target.subresource:
            return self._subresource(call)
        if resource.virtual:
            handlers = self.extensions.creates if target.verb == "create" else self.extensions.reads
            handler = handlers.get((resource.group, resource.plural))
            if target.verb in resource.verbs and handler is not None:
                return handler
        elif target.verb in resource.verbs and _fits(target, resource):
            return self._verbs[target.verb]
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")

    def _subresource(self, call: Call) -> CallHandler:
        target, resource = call.target, call.resource
        extensions = self.extensions.subresources
        special = extensions.get((resource.group, resource.plural, target.subresource))
        if special is not None:
            return special
        if target.subresource == "scale" and resource.scale is not None:
            return extensions["", "*", "scale"]
        if target.subresource == "status" and resource.status and target.verb in ("get", "update", "patch"):
            return self._verbs[target.verb]
        raise errors.NotFound("the server could not find the requested resource")

    async def _page(self, request: Request) -> Response:
        page = self.extensions.page(request.path)
        if page is not None:
            return await page(request)
        found = self.discovery.answer(request)
        if found is None:
            raise errors.NotFound("the server could not find the requested resource")
        return found

    def resource(self, group: str, version: str, plural: str) -> AnyResource:
        found = self.registry.get(group, version, plural)
        if found is None:
            raise errors.NotFound(f"the server has no resource {plural}.{version}.{group}")
        return found

    def as_other(self, call: Call, plural: str, name: str) -> Call:
        """The same request aimed at another core object of the same namespace."""
        target = replace(call.target, resource=plural, name=name, subresource="")
        return replace(call, target=target, resource=self.resource("", "v1", plural))


def _fits(target: Target, resource: AnyResource) -> bool:
    """Whether the verb can be used on what the URL names: an object, a collection, a namespace's or all."""
    if target.verb in ("create", "deletecollection"):
        return not target.name and (bool(target.namespace) or not resource.namespaced)
    return bool(target.name) or target.verb in ("list", "watch")


def _is_public(request: Request, target: Target) -> bool:
    return not target.is_resource and request.path.startswith(PUBLIC)


def failure(error: errors.ApiError) -> Response:
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return Response(error.code, orjson.dumps(error.status()), JSON, headers)


def _warning_header(warnings: list[str]) -> str:
    """RFC 7234 warnings, as upstream sends them: code 299, agent unknown."""
    return ", ".join(f'299 - "{_quoted(text)}"' for text in dict.fromkeys(warnings))


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
