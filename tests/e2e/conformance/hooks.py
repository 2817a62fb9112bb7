"""A webhook server on loopback, in the words of the one that upstream's tests use: one path, one decision."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tiphys.main.pki import Leaf, Pki

Json = dict[str, Any]
Decision = Callable[[Json], Json]


def allowed() -> Json:
    return {"allowed": True}


def denied(why: str) -> Json:
    return {"allowed": False, "status": {"reason": why, "message": why}}


def patched(*operations: Json) -> Json:
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch}


@dataclass
class Hooks:
    url: str
    bundle: str
    decisions: dict[str, Decision]
    # Set when the test is over: what hangs lets go.
    released: threading.Event

    def client(self, path: str) -> Json:
        """The clientConfig of a path."""
        return {"url": f"{self.url}{path}", "caBundle": self.bundle}


@contextmanager
def serving(base: Path, review: str = "AdmissionReview") -> Iterator[Hooks]:
    pki = Pki(base / "hooks")
    pki.ensure("hooks", {"server": Leaf("server", names=("127.0.0.1",))})
    decisions: dict[str, Decision] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            decision = decisions[self.path.partition("?")[0]](body["request"])
            answer = {"apiVersion": body["apiVersion"], "kind": body["kind"]}
            data = json.dumps({**answer, "response": {"uid": body["request"]["uid"], **decision}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pki.certificate("server"), pki.key("server"))
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *words: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    released = threading.Event()
    bundle = base64.b64encode(pki.ca.read_bytes()).decode()
    try:
        yield Hooks(f"https://127.0.0.1:{server.server_address[1]}", bundle, decisions, released)
    finally:
        released.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
