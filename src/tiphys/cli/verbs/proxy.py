"""`proxy`: the API on a local port, with our credentials; for browsers and curl.

Source: https://kubernetes.io/docs/reference/kubectl/generated/kubectl_proxy/
"""

from __future__ import annotations

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from tiphys.cli.command import Call, Command
from tiphys.cli.errors import CliError, ServerError
from tiphys.cli.transport import Http

FLAGS = """
port,p int=8001  Local port; 0 takes a free one.
address str=127.0.0.1  Local address.
accept-hosts str=^localhost$,^127\\.0\\.0\\.1$,^\\[::1\\]$  Host headers to accept.
reject-paths str=^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach  Paths to refuse.
api-prefix str=/  Path under which the API is served.
disable-filter bool  Accept every host and path.
"""


class _Handler(BaseHTTPRequestHandler):
    """Passes requests on. Each thread has a connection of its own, since a connection carries one request at a time."""

    protocol_version = "HTTP/1.1"
    call: Call

    def _pass(self) -> None:
        opts = self.call.opts
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        welcome = _matches(opts["accept-hosts"], host) and not _matches(opts["reject-paths"], self.path)
        if not welcome and not opts["disable-filter"]:
            self._answer(403, b"Forbidden", "text/plain")
            return
        transport = Http(self.call.connection)
        if "watch=" in self.path or "follow=" in self.path:
            self._stream(transport)
            return
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size) if size else None
        kind = self.headers.get("Content-Type", "application/json")
        accept = self.headers.get("Accept", "application/json")
        try:
            content = transport.call(self.command, self.path, body=body, content_type=kind, accept=accept)
        except ServerError as error:
            self._answer(error.code, orjson.dumps(error.status), "application/json")
        except CliError as error:
            self._answer(502, error.message.encode(), "text/plain")
        else:
            self._answer(200, content, "application/json" if content[:1] in b"{[" else "text/plain")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _pass

    def _stream(self, transport: Http) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for chunk in transport.stream(self.path):
                self.wfile.write(chunk)
                self.wfile.flush()
        except (ServerError, CliError, ConnectionError):
            # The status line has gone out; ending the answer is all that is left to say.
            return

    def _answer(self, code: int, content: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet, as kubectl's proxy is."""


def _matches(patterns: str, text: str) -> bool:
    return any(re.search(pattern, text) for pattern in patterns.split(",") if pattern)


def run(call: Call) -> int:
    handler = type("_Bound", (_Handler,), {"call": call})
    try:
        server = ThreadingHTTPServer((call.opts["address"], call.opts["port"]), handler)
    except OSError as error:
        raise CliError(f"listen tcp {call.opts['address']}:{call.opts['port']}: {error.strerror}") from error
    server.daemon_threads = True
    host, port = server.server_address[:2]
    call.say(f"Starting to serve on {host!s}:{port}")
    sys.stdout.flush()
    with server:
        server.serve_forever()
    return 0


COMMANDS = {"proxy": Command(run, "[--port=PORT]", FLAGS, "kubectl proxy --port=8080")}
