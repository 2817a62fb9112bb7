"""Signatures of requests to S3-compatible stores, AWS Signature Version 4.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a store knows us by; `token` only with keys that expire."""

    access: str
    secret: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is not encoded yet; `digest` is the SHA-256 of the body in hexadecimal."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    digest: str


def encoded_path(path: str) -> str:
    return quote(path, safe="/-_.~")


def encoded_query(query: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe='-_.~')}={quote(query[name], safe='-_.~')}" for name in sorted(query))


def sign(request: Request, keys: Keys, region: str, now: float) -> dict[str, str]:
    """The headers that make it a request of ours, at `now` in seconds since the epoch."""
    moment = time.gmtime(now)
    stamp, day = time.strftime("%Y%m%dT%H%M%SZ", moment), time.strftime("%Y%m%d", moment)
    headers = {"host": request.host, "x-amz-content-sha256": request.digest, "x-amz-date": stamp}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(sorted(headers))
    lines = [request.method, encoded_path(request.path), encoded_query(request.query)]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers)]
    canonical = "\n".join([*lines, "", names, request.digest])
    scope = f"{day}/{region}/s3/aws4_request"
    to_sign = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    credential = f"Credential={keys.access}/{scope}"
    del headers["host"]
    headers["authorization"] = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
    return headers
