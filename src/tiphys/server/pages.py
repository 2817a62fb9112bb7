"""The plain URLs: health, version, metrics, token keys.

Source: https://kubernetes.io/docs/reference/using-api/health-checks/
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import orjson

import tiphys
from tiphys import KUBERNETES_VERSION, __version__
from tiphys.api.errors import ServiceUnavailable
from tiphys.api.http import Request, Response
from tiphys.api.time import rfc3339
from tiphys.base import metrics
from tiphys.server import debug
from tiphys.server.app import ApiServer
from tiphys.server.tokens import Tokens

_STORE_SECONDS = 2.0
_TEXT = "text/plain; charset=utf-8"


def install(server: ApiServer, ready: Callable[[], str], tokens: Tokens) -> None:
    """`ready` names what the server still waits for, or is empty."""

    async def live(request: Request) -> Response:
        return Response(200, b"ok", _TEXT)

    async def readyz(request: Request) -> Response:
        waiting = ready() or await _store(server)
        if waiting:
            return Response(500, f"[-]{waiting} failed: not ready yet\nreadyz check failed\n".encode(), _TEXT)
        return Response(200, b"[+]store ok\nreadyz check passed\n" if "verbose" in request.query else b"ok", _TEXT)

    async def scrape(request: Request) -> Response:
        server.metrics.count_objects(server.cache)
        return Response(200, metrics.render(), metrics.CONTENT_TYPE)

    async def keys(request: Request) -> Response:
        return Response(200, orjson.dumps(tokens.keys()), "application/jwk-set+json")

    async def issuer(request: Request) -> Response:
        return Response(200, orjson.dumps(_issuer(tokens.issuer)))

    pages = server.extensions.pages
    pages |= {"/debug/pprof": debug.page, "/debug/pprof/": debug.page}
    pages |= {"/healthz": live, "/livez": live, "/healthz/": live, "/livez/": live}
    pages |= {"/readyz": readyz, "/readyz/": readyz, "/version": _version, "/metrics": scrape}
    pages |= {"/openid/v1/jwks": keys, "/.well-known/openid-configuration": issuer, "/": _root}


async def _store(server: ApiServer) -> str:
    """The name of the store if it does not answer."""
    try:
        async with asyncio.timeout(_STORE_SECONDS):
            await server.caught_up()
    except (ServiceUnavailable, TimeoutError):
        return "etcd"
    return ""


def _issuer(issuer: str) -> dict[str, object]:
    return {
        "issuer": issuer, "jwks_uri": f"{issuer}/openid/v1/jwks", "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
    }  # fmt: skip


async def _version(request: Request) -> Response:
    digest, built = await asyncio.to_thread(_code)
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    body = {
        "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": f"{KUBERNETES_VERSION}+tiphys-{__version__}", "gitCommit": digest, "gitTreeState": "clean",
        "buildDate": built, "goVersion": f"python{platform.python_version()}",
        "compiler": sys.implementation.name, "platform": f"linux/{_machine()}",
    }  # fmt: skip
    return Response(200, orjson.dumps(body))


@cache
def _code() -> tuple[str, str]:
    """SHA-1 of the code that runs, wherever it came from, and the time of its newest file."""
    digest, newest = hashlib.sha1(usedforsecurity=False), 0.0
    root = Path(tiphys.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
        newest = max(newest, path.stat().st_mtime)
    return digest.hexdigest(), rfc3339(newest)


def _machine() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


async def _root(request: Request) -> Response:
    paths = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics"]
    paths += ["/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"]
    return Response(200, orjson.dumps({"paths": paths}))
