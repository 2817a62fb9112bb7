"""Requests over a connection that stays open, with blocking sockets: a command line waits anyway, and starts faster.

`Transport` is all that verbs see of the network; tests give them another. Source of headers and errors:
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import orjson

from tiphys import KUBERNETES_VERSION
from tiphys.cli.config import Connection
from tiphys.cli.errors import CliError, ServerError, Unreachable

JSON = "application/json"
Query = Mapping[str, str | int | bool | list[str] | None]


class Transport(Protocol):
    """`url` is the server's. Errors: ServerError for a Status of failure, Unreachable without an answer."""

    url: str

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        """The answer's body. `body` is sent as it is when bytes, else as JSON."""

    def stream(self, path: str, *, query: Query | None = None, accept: str = JSON) -> Iterator[bytes]:
        """The answer to a GET in pieces as they arrive."""

    def lines(self, path: str, *, query: Query | None = None, accept: str = JSON) -> Iterator[bytes]:
        """The answer to a GET line by line as they arrive."""

    def upgrade(self, path: str, *, query: Query | None = None, protocols: list[str]) -> tuple[socket.socket, str]:
        """A WebSocket after its handshake, with the protocol that the server chose."""


def encoded(query: Query | None) -> str:
    """A query string with its `?`; None and empty values are left out, true is `true`."""
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        if isinstance(value, list):
            pairs += [(name, item) for item in value]
        elif value is not None and value is not False and value != "":
            pairs.append((name, "true" if value is True else str(value)))
    return "?" + urlencode(pairs) if pairs else ""


class Http:
    """Transport to one server. `timeout` is seconds, 0 for none; `warn` takes each Warning header's text once."""

    def __init__(self, connection: Connection, *, timeout: float = 0, verbose: int = 0) -> None:
        self.url = connection.server.rstrip("/")
        self._to = connection
        self._timeout = timeout or None
        self._verbose = verbose
        self._parts = urlsplit(self.url)
        self._open: http.client.HTTPConnection | None = None
        self._tls: ssl.SSLContext | None = None
        self._warned: set[str] = set()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
        headers = {"Accept": accept}
        if data is not None:
            headers["Content-Type"] = content_type
        if self._timeout:
            query = {**(query or {}), "timeout": f"{self._timeout:g}s"}
        response = self._send(method, path + encoded(query), data, headers)
        content = response.read()
        if response.status >= 400:
            raise _failure(response.status, content)
        return content

    def stream(self, path: str, *, query: Query | None = None, accept: str = JSON) -> Iterator[bytes]:
        response = self._send("GET", path + encoded(query), None, {"Accept": accept}, own=True)
        if response.status >= 400:
            raise _failure(response.status, response.read())
        yield from self._pieces(lambda: response.read1(65536))

    def lines(self, path: str, *, query: Query | None = None, accept: str = JSON) -> Iterator[bytes]:
        response = self._send("GET", path + encoded(query), None, {"Accept": accept}, own=True)
        if response.status >= 400:
            raise _failure(response.status, response.read())
        yield from self._pieces(response.readline)

    def _pieces(self, read: Callable[[], bytes]) -> Iterator[bytes]:
        """What arrives until the end; the end of `--request-timeout` is one as well."""
        try:
            while piece := read():
                yield piece
        except TimeoutError:
            return
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, "") from error

    def upgrade(self, path: str, *, query: Query | None = None, protocols: list[str]) -> tuple[socket.socket, str]:
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Protocol": ", ".join(protocols),
        }  # fmt: skip
        connection = self._connect()
        self._request(connection, "GET", path + encoded(query), None, headers)
        # http.client buffers what it reads; unbuffered, no frame can be lost in its buffer.
        response = http.client.HTTPResponse(connection.sock, method="GET")
        response.fp.close()
        response.fp = connection.sock.makefile("rb", buffering=0)  # type: ignore[assignment]
        response.begin()
        if response.status != 101:
            raise _failure(response.status, response.read())
        return connection.sock, response.headers.get("Sec-WebSocket-Protocol", "")

    def _send(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str], *, own: bool = False
    ) -> http.client.HTTPResponse:
        for attempt in (0, 1):
            kept = self._open is not None and not own
            connection = self._open if self._open is not None and not own else self._connect()
            if not own:
                self._open = connection
            try:
                self._request(connection, method, target, body, headers)
                response = connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionError) as error:
                if not own:
                    self._open = None
                # A kept connection may have been closed by the server meanwhile; that is no failure of the request.
                if kept and attempt == 0:
                    continue
                raise self._unreachable(error, target) from error
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error, target) from error
            self._warnings(response)
            if self._verbose >= 6:
                print(f"{method} {self.url}{target} {response.status} {response.reason}", file=sys.stderr)
            return response
        raise Unreachable("no answer")

    def _request(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> None:
        try:
            connection.putrequest(method, self._parts.path.rstrip("/") + target, skip_accept_encoding=True)
            for name, value in {**self._headers(), **headers}.items():
                connection.putheader(name, value)
            for group in self._to.groups:
                connection.putheader("Impersonate-Group", group)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
        except OSError as error:
            raise self._unreachable(error, target) from error

    def _headers(self) -> dict[str, str]:
        to = self._to
        found = {"User-Agent": f"kubectl/{KUBERNETES_VERSION} (tiphys)"}
        if to.user.get("token"):
            found["Authorization"] = f"Bearer {to.user['token']}"
        elif to.user.get("username"):
            pair = f"{to.user['username']}:{to.user.get('password', '')}"
            found["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        if to.impersonate:
            found["Impersonate-User"] = to.impersonate
        if to.impersonate_uid:
            found["Impersonate-Uid"] = to.impersonate_uid
        return found

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "localhost", self._parts.port
        if self._parts.scheme != "https":
            connection = http.client.HTTPConnection(host, port or 80, timeout=self._timeout)
        else:
            self._tls = self._tls or _tls(self._to)
            connection = _Tls(host, port or 443, timeout=self._timeout, context=self._tls)
            connection.server_name = self._to.server_name or host
        try:
            connection.connect()
        except OSError as error:
            raise self._unreachable(error, "") from error
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _unreachable(self, error: Exception, target: str) -> Unreachable:
        host = self._parts.netloc
        if isinstance(error, ConnectionRefusedError):
            text = f"The connection to the server {host} was refused - did you specify the right host or port?"
        elif isinstance(error, TimeoutError):
            text = f"Unable to connect to the server: {self.url}{target}: no answer in time"
        elif isinstance(error, socket.gaierror):
            text = f"Unable to connect to the server: dial tcp: lookup {self._parts.hostname}: no such host"
        else:
            text = f"Unable to connect to the server: {error}"
        return Unreachable(text, plain=True)

    def _warnings(self, response: http.client.HTTPResponse) -> None:
        for value in response.headers.get_all("Warning") or ():
            text = _warning_text(value)
            if text and text not in self._warned:
                self._warned.add(text)
                print(f"Warning: {text}", file=sys.stderr)


class _Tls(http.client.HTTPSConnection):
    """Verifies the name that kubeconfig says, which need not be the host's."""

    server_name = ""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=self.server_name)


def _warning_text(header: str) -> str:
    """The text of `299 - "text"`."""
    start, end = header.find('"'), header.rfind('"')
    return header[start + 1 : end].replace('\\"', '"').replace("\\\\", "\\") if 0 <= start < end else ""


def _tls(to: Connection) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if to.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif to.ca_data:
            context.load_verify_locations(cadata=base64.b64decode(to.ca_data).decode())
        elif to.ca:
            context.load_verify_locations(cafile=to.ca)
        else:
            context.load_default_certs()
        _load_identity(context, to.user)
    except (OSError, ValueError) as error:
        raise CliError(f"unable to read the certificates of the connection to {to.server}: {error}") from error
    return context


def _load_identity(context: ssl.SSLContext, user: Mapping[str, Any]) -> None:
    certificate, key = user.get("client-certificate"), user.get("client-key")
    if user.get("client-certificate-data"):
        # The library reads files only; these live in memory and end with the descriptor.
        data = base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"])
        handle = os.memfd_create("identity")
        try:
            os.write(handle, data)
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
    elif certificate:
        context.load_cert_chain(certificate, key)


def _failure(code: int, content: bytes) -> ServerError:
    try:
        status = orjson.loads(content)
    except ValueError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = content.decode(errors="replace").strip()
        status = {"message": text or f"the server answered {code}", "reason": _REASONS.get(code, "")}
    return ServerError(status, code)


_REASONS = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed", 409: "Conflict",
    500: "InternalError", 503: "ServiceUnavailable",
}  # fmt: skip


def segment(text: str) -> str:
    """A path segment, escaped."""
    return quote(text, safe=":@!$&'()*+,;=~")
