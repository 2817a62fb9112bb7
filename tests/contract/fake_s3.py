"""A small S3-compatible store in memory that checks signatures, for the tests of backups."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

from aiohttp import web
from aiohttp.test_utils import TestServer

ACCESS, SECRET, REGION, BUCKET = "AKTEST", "secret/of+the=test", "eu-test-1", "harbour"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<access>[^/]+)/(?P<scope>[^,]+), "
    r"SignedHeaders=(?P<headers>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)


class FakeS3:
    """`objects` by key; `fail` that many of the next requests with 503. Lists are given two keys at a time."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fail = 0
        self.requests: list[tuple[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        raw_path, _, raw_query = request.raw_path.partition("?")
        body = await request.read()
        self.requests.append((request.method, unquote(raw_path)))
        if self.fail:
            self.fail -= 1
            return _error(503, "SlowDown")
        problem = _problem(request, raw_path, raw_query, body)
        if problem:
            return _error(403, problem)
        bucket, _, key = unquote(raw_path).removeprefix("/").partition("/")
        if bucket != BUCKET:
            return _error(404, "NoSuchBucket")
        if not key:
            return self._list(dict(parse_qsl(raw_query)))
        if request.method == "PUT":
            self.objects[key] = body
            return web.Response()
        if key not in self.objects:
            return _error(404, "NoSuchKey")
        if request.method == "DELETE":
            del self.objects[key]
            return web.Response(status=204)
        start, _, end = request.headers["range"].removeprefix("bytes=").partition("-")
        return web.Response(status=206, body=self.objects[key][int(start) : int(end) + 1])

    def _list(self, query: dict[str, str]) -> web.Response:
        after = query.get("continuation-token", "")
        keys = [key for key in sorted(self.objects) if key.startswith(query["prefix"]) and key > after]
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size></Contents>" for key in keys[:2]
        )
        more = f"<NextContinuationToken>{escape(keys[1])}</NextContinuationToken>" if len(keys) > 2 else ""
        space = "http://s3.amazonaws.com/doc/2006-03-01/"
        return web.Response(text=f'<ListBucketResult xmlns="{space}">{found}{more}</ListBucketResult>')


def _problem(request: web.Request, raw_path: str, raw_query: str, body: bytes) -> str:
    """What is wrong with a request's signature, by the letter of the specification."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if match is None:
        return "AccessDenied"
    if match["access"] != ACCESS:
        return "InvalidAccessKeyId"
    if hashlib.sha256(body).hexdigest() != request.headers["x-amz-content-sha256"]:
        return "XAmzContentSHA256Mismatch"
    pairs = sorted((quote(n, safe="-_.~"), quote(v, safe="-_.~")) for n, v in parse_qsl(raw_query))
    headers = [(name, request.headers[name].strip()) for name in match["headers"].split(";")]
    assert [name for name, _ in headers] == sorted(name for name, _ in headers)
    assert {"host", "x-amz-date"} <= {name for name, _ in headers}
    canonical = "\n".join(
        [
            request.method, raw_path, "&".join(f"{n}={v}" for n, v in pairs),
            *(f"{name}:{value}" for name, value in headers), "", match["headers"],
            request.headers["x-amz-content-sha256"],
        ]
    )  # fmt: skip
    stamp = request.headers["x-amz-date"]
    assert match["scope"] == f"{stamp[:8]}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{match['scope']}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + SECRET.encode()
    for part in (stamp[:8], REGION, "s3", "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return "" if key.hex() == match["signature"] else "SignatureDoesNotMatch"


def _error(status: int, code: str) -> web.Response:
    return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")


@asynccontextmanager
async def fake_s3() -> AsyncIterator[tuple[FakeS3, str]]:
    """A store and its endpoint."""
    store = FakeS3()
    application = web.Application(client_max_size=2**30)
    application.router.add_route("*", "/{path:.*}", store.handle)
    server = TestServer(application)
    await server.start_server()
    try:
        yield store, str(server.make_url("")).rstrip("/")
    finally:
        await server.close()
