"""The plain URLs: version, metrics, token keys; health is in `health.py`."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import sys
from functools import cache
from pathlib import Path

import orjson

import tiphys
from tiphys import KUBERNETES_VERSION, __version__
from tiphys.api.http import Request, Response
from tiphys.api.time import rfc3339
from tiphys.base import metrics
from tiphys.server import debug
from tiphys.server.app import ApiServer
from tiphys.server.health import Health
from tiphys.server.tokens import Tokens


def install(server: ApiServer, tokens: Tokens) -> None:
    async def scrape(request: Request) -> Response:
        server.metrics.count_objects(server.cache)
        server.flow_control.measure()
        return Response(200, metrics.render(), metrics.CONTENT_TYPE)

    async def keys(request: Request) -> Response:
        return Response(200, orjson.dumps(tokens.keys()), "application/jwk-set+json")

    async def issuer(request: Request) -> Response:
        return Response(200, orjson.dumps(_issuer(tokens.issuer)))

    pages = server.extensions.pages
    pages |= {"/debug/pprof": debug.page, "/debug/pprof/": debug.page}
    pages |= Health(server).pages | {"/version": _version, "/metrics": scrape}
    pages |= {"/openid/v1/jwks": keys, "/.well-known/openid-configuration": issuer, "/": _root}


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
