"""Asking webhooks: admission, conversion and whatever else posts JSON to a `clientConfig` and reads JSON back.

A clientConfig has a `url`, or a `service` that is resolved to a ready endpoint and must prove to be NAME.NAMESPACE.svc.
Connections are kept per server and CA; an answer is bounded in time and size; redirects are not followed.
Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#contacting-the-webhook
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
import orjson

from tiphys.api.resource import Json
from tiphys.base.outgoing import Connector
from tiphys.server.backends import Address, Backends, NoBackend
from tiphys.server.cache import Cache

_MAX_ANSWER = 8 * 1024 * 1024
_SESSIONS = 64
_CONNECTIONS = 100


class WebhookError(Exception):
    """No usable answer came: why, in the words that upstream uses where it has some."""


@dataclass(frozen=True, slots=True)
class Destination:
    """`url` as errors show it; `addresses` to go to instead of its host, where a Service stands behind it."""

    url: str
    ca: str = ""
    addresses: Sequence[Address] = ()


class Post(Protocol):
    async def __call__(self, destination: Destination, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises WebhookError."""

    async def close(self) -> None: ...


class WebhookClient:
    """`post` is what does the HTTP; without one, the real thing."""

    def __init__(self, cache: Cache, post: Post | None = None) -> None:
        self._backends = Backends(cache)
        self._post = post or HttpPost()

    async def call(self, config: Json, body: Json, seconds: float) -> Json:
        """Post `body` to where the clientConfig `config` points and give the object answered. Raises WebhookError."""
        destination = self._destination(config, seconds)
        try:
            async with asyncio.timeout(seconds):
                status, answer = await self._post(destination, orjson.dumps(body))
        except TimeoutError:
            raise WebhookError(f'Post "{destination.url}": context deadline exceeded') from None
        if status != 200:
            raise WebhookError(_refusal(status, answer))
        try:
            found = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise WebhookError(f"the answer is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise WebhookError("the answer is not a JSON object")
        return found

    def _destination(self, config: Json, seconds: float) -> Destination:
        ca, timeout = config.get("caBundle") or "", f"timeout={max(1, round(seconds))}s"
        service = config.get("service")
        if service is None:
            url = config.get("url") or ""
            return Destination(f"{url}{'&' if '?' in url else '?'}{timeout}", ca)
        name, namespace, port = service["name"], service["namespace"], service.get("port") or 443
        path = "/" + (service.get("path") or "").lstrip("/")
        url = f"https://{name}.{namespace}.svc:{port}{path}?{timeout}"
        try:
            return Destination(url, ca, self._backends.of(namespace, name, port))
        except NoBackend as error:
            short = {"ServiceNotFound": f'service "{name}" not found'}
            why = short.get(error.reason) or f'no endpoints available for service "{name}"'
            raise WebhookError(f'Post "{url}": {why}') from None

    async def close(self) -> None:
        await self._post.close()


def _refusal(status: int, answer: bytes) -> str:
    if status == 404:
        return "the server could not find the requested resource"
    said = answer[:1024].decode("utf-8", "replace").strip() or f"HTTP {status}"
    if status >= 500:
        return f'an error on the server ("{said}") has prevented the request from succeeding'
    return f"the server rejected our request with status {status}: {said}"


class HttpPost:
    """HTTPS by aiohttp; one session for each server and CA, the least used of which are closed."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], aiohttp.ClientSession] = OrderedDict()

    async def __call__(self, destination: Destination, body: bytes) -> tuple[int, bytes]:
        parts = urlsplit(destination.url)
        session = await self._session(parts.netloc, destination.ca)
        if not destination.addresses:
            return await self._send(session, destination.url, destination.url, body, None)
        failure = WebhookError(f'Post "{destination.url}": no address')
        for host, port in destination.addresses:
            shown = f"[{host}]" if ":" in host else host
            url = parts._replace(netloc=f"{shown}:{port}").geturl()
            try:
                return await self._send(session, url, destination.url, body, parts.hostname)
            except _NotConnected as error:
                failure = error
        raise failure

    async def _send(
        self, session: aiohttp.ClientSession, url: str, shown: str, body: bytes, server_name: str | None
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json, */*"}
        if server_name:
            headers["Host"] = urlsplit(shown).netloc
        try:
            async with session.post(
                url, data=body, headers=headers, server_hostname=server_name, allow_redirects=False
            ) as answer:
                return answer.status, await _bounded(answer)
        except aiohttp.ClientConnectorError as error:
            raise _NotConnected(f'Post "{shown}": {error}') from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise WebhookError(f'Post "{shown}": {error or type(error).__name__}') from error

    async def _session(self, server: str, ca: str) -> aiohttp.ClientSession:
        session = self._sessions.get((server, ca))
        if session is None:
            connector = Connector(ssl=_context(ca), limit=_CONNECTIONS)
            session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
            self._sessions[server, ca] = session
            while len(self._sessions) > _SESSIONS:
                _, oldest = self._sessions.popitem(last=False)
                await oldest.close()
        self._sessions.move_to_end((server, ca))
        return session

    async def close(self) -> None:
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()


class _NotConnected(WebhookError):
    """Nothing was sent, so that another address may be tried."""


def _context(ca: str) -> ssl.SSLContext:
    if not ca:
        return ssl.create_default_context()
    with suppress(binascii.Error, ValueError, ssl.SSLError):
        return ssl.create_default_context(cadata=base64.b64decode(ca).decode())
    raise WebhookError("unable to load root certificates: unable to parse bytes as PEM block")


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > _MAX_ANSWER:
            raise WebhookError(f"the answer is larger than {_MAX_ANSWER} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
