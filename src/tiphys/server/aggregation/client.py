"""Passing requests on to extension API servers, as the front proxy that they trust to say who asks.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
"""

from __future__ import annotations

import base64
import random
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode
from weakref import WeakSet

import aiohttp
from multidict import CIMultiDict

from tiphys.api import errors
from tiphys.api.http import JSON, Request, Response, User
from tiphys.base.outgoing import Connector
from tiphys.base.outgoing import session as outgoing
from tiphys.server.backends import Address

_SESSIONS = 64
_MAX_BODY = 64 * 1024 * 1024
_PASSED = ("accept", "content-type", "user-agent", "if-none-match", "if-match", "origin")
_RETURNED = ("etag", "vary", "cache-control", "warning", "retry-after", "location", "audit-id")


@dataclass(frozen=True, slots=True)
class Identity:
    """Files of the front proxy's client certificate and key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Server:
    """An extension API server: where it is, the name that it must prove, and the CA (base64 PEM) it is proved by."""

    addresses: tuple[Address, ...]
    name: str
    ca: str = ""
    insecure: bool = False


def headers_of(user: User, asked: Mapping[str, str]) -> CIMultiDict[str]:
    """Who asks, and what of the client's own headers goes along; credentials never do."""
    headers: CIMultiDict[str] = CIMultiDict((name, asked[name]) for name in _PASSED if asked.get(name))
    headers.add("X-Remote-User", user.name)
    if user.uid:
        headers.add("X-Remote-Uid", user.uid)
    for group in user.groups:
        headers.add("X-Remote-Group", group)
    for key, values in user.extra.items():
        for value in values:
            headers.add(f"X-Remote-Extra-{quote(key, safe='')}", value)
    return headers


class AggregationClient:
    def __init__(self, identity: Identity | None) -> None:
        self._identity = identity
        # By name, CA and whether that counts; endpoints come and go.
        self._contexts: WeakSet[ssl.SSLContext] = WeakSet()
        self._sessions: OrderedDict[tuple[str, str, bool], aiohttp.ClientSession] = OrderedDict()

    async def send(self, server: Server, request: Request, user: User, *, seconds: float | None = None) -> Response:
        """The answer as it came; a watch's is a stream. Raises ServiceUnavailable where nobody answers."""
        watches = request.flag("watch") or request.flag("follow")
        session = await self._session(server)
        timeout = aiohttp.ClientTimeout(total=None if watches else seconds or 60.0, sock_connect=5)
        failure: Exception | None = None
        for address in random.sample(server.addresses, len(server.addresses)):
            try:
                answer = await session.request(
                    request.method, url_of(address, request), data=request.body or None, timeout=timeout,
                    headers=headers_of(user, request.headers), server_hostname=server.name, allow_redirects=False,
                )  # fmt: skip
            except aiohttp.ClientConnectorError as error:
                failure = error
                continue
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _unreachable(error) from error
            return await _response(answer, streamed=watches)
        raise _unreachable(failure or OSError("no address")) from failure

    def context(self, server: Server) -> ssl.SSLContext:
        """TLS as the front proxy's. Raises ServiceUnavailable for a CA that is none."""
        try:
            cadata = base64.b64decode(server.ca).decode() if server.ca else None
            context = ssl.create_default_context(cadata=cadata)
        except (ValueError, ssl.SSLError) as error:
            raise errors.ServiceUnavailable(f"the caBundle of {server.name} is not PEM: {error}") from error
        if server.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self._identity is not None:
            context.load_cert_chain(self._identity.certificate, self._identity.key)
            self._contexts.add(context)
        return context

    def reload(self) -> None:
        """Show the certificate that the files hold by now, to new connections."""
        if self._identity is not None:
            for context in list(self._contexts):
                context.load_cert_chain(self._identity.certificate, self._identity.key)

    async def _session(self, server: Server) -> aiohttp.ClientSession:
        key = server.name, server.ca, server.insecure
        session = self._sessions.get(key)
        if session is None:
            connector = Connector(ssl=self.context(server), limit=0)
            session = self._sessions[key] = outgoing(connector)
            while len(self._sessions) > _SESSIONS:
                _, oldest = self._sessions.popitem(last=False)
                await oldest.close()
        self._sessions.move_to_end(key)
        return session

    async def close(self) -> None:
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()


def url_of(address: Address, request: Request) -> str:
    host, port = address
    shown = f"[{host}]" if ":" in host else host
    query = f"?{urlencode(request.query, doseq=True)}" if request.query else ""
    return f"https://{shown}:{port}{quote(request.path, safe='/:@!$&()*+,;=~')}{query}"


def _unreachable(error: Exception) -> errors.ServiceUnavailable:
    return errors.ServiceUnavailable(f"error trying to reach service: {error or type(error).__name__}")


async def _response(answer: aiohttp.ClientResponse, *, streamed: bool) -> Response:
    headers = {name: answer.headers[name] for name in _RETURNED if name in answer.headers}
    kind = answer.headers.get("Content-Type", JSON)
    if streamed and answer.status == 200:
        return Response(answer.status, b"", kind, headers, _chunks(answer))
    try:
        chunks, size = [], 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > _MAX_BODY:
                raise errors.ServiceUnavailable(f"the answer is larger than {_MAX_BODY} bytes")
            chunks.append(chunk)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _unreachable(error) from error
    finally:
        answer.release()
    return Response(answer.status, b"".join(chunks), kind, headers)


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Line by line, as all streams of the server are; a connection that breaks ends the watch."""
    rest = b""
    try:
        async for chunk in answer.content.iter_any():
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield lines + newline
        if rest:
            yield rest
    except (aiohttp.ClientError, OSError):
        return
    finally:
        answer.close()
