"""Upgraded connections (WebSockets and the like) to extension API servers."""

from __future__ import annotations

from aiohttp import web

from tiphys.api import errors
from tiphys.api.http import Request
from tiphys.client.tunnel import TunnelFailed, tunnel
from tiphys.server.aggregation.client import AggregationClient, headers_of
from tiphys.server.aggregation.remotes import Aggregation
from tiphys.server.app import ApiServer
from tiphys.server.authz import refusal
from tiphys.server.route import target_of


class RemoteUpgrades:
    """An upgrade hook of the web front; answers None for what this server answers itself."""

    def __init__(self, server: ApiServer, aggregation: Aggregation, client: AggregationClient) -> None:
        self._server, self._aggregation, self._client = server, aggregation, client

    async def __call__(self, http: web.BaseRequest, request: Request) -> web.StreamResponse | None:
        remote = self._aggregation.find(request.path)
        if remote is None:
            return None
        if request.user is None:
            raise errors.Unauthorized("Unauthorized")
        target = target_of(request)
        if not self._server.authorizer.allows(request.user, target):
            raise refusal(request.user, target)
        server = self._aggregation.server(remote)
        if any(name.lower().startswith(("x-remote-", "impersonate-")) for name in http.headers):
            raise errors.BadRequest("an upgraded connection to another server says who asks by its credentials only")
        extra = headers_of(request.user, {}).items()
        try:
            return await tunnel(
                http, server.addresses[0], http.path_qs, self._client.context(server), extra=extra,
                server_name=server.name,
            )  # fmt: skip
        except TunnelFailed as error:
            raise errors.ServiceUnavailable(f"error trying to reach service: {error}") from error
