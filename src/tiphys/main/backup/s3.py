"""Backups in a bucket of an S3-compatible store: AWS, MinIO, Ceph and others; path style, four verbs.

Objects cannot grow, so what is appended to NAME is an object NAME/000001, NAME/000002 and so on; once nothing more is
appended they are merged into one, NAME/000001-000042. Readers leave out the parts that a merged one covers, so that a
crash in between harms nothing. Requests that a store could not serve are repeated: all of them can be.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

import asyncio
import configparser
import hashlib
import os
import re
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

import aiohttp
from yarl import URL

from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock, SystemClock
from tiphys.base.outgoing import Connector
from tiphys.main.backup import sigv4
from tiphys.main.backup.destination import Item
from tiphys.main.backup.seal import BackupError

_BLOCK = 1024 * 1024
_TRIES, _SECONDS, _CONNECT_SECONDS = 4, 60.0, 10.0
_NAME = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")
_PART = re.compile(r"(.*)/(\d{6})(?:-(\d{6}))?")


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """`endpoint` is a URL; `prefix` ends with a slash or is empty."""

    bucket: str
    prefix: str
    endpoint: str
    region: str
    keys: sigv4.Keys


def bucket_settings(place: str, endpoint: str, region: str, credentials: str) -> BucketSettings:
    """Of `s3://BUCKET/PREFIX`. Keys come from a file as AWS' tools have it, else from the environment."""
    match = _NAME.fullmatch(place)
    if match is None:
        raise BackupError(f"{place!r} names no bucket: write s3://BUCKET/PREFIX")
    region = region or os.environ.get("AWS_REGION") or "us-east-1"
    endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL") or f"https://s3.{region}.amazonaws.com"
    if urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).netloc:
        raise BackupError(f"{endpoint!r} is no endpoint: give a URL such as https://minio.example.com:9000")
    prefix = (match[2] or "").strip("/")
    return BucketSettings(match[1], prefix and f"{prefix}/", endpoint.rstrip("/"), region, keys_from(credentials))


def keys_from(path: str) -> sigv4.Keys:
    """Raises BackupError where there are none, or others may read them."""
    if path:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            if os.stat(path).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise BackupError(f"{path} holds keys and others may read it: `chmod 600 {path}`")
            parser.read_string(Path(path).read_text())
        except (OSError, configparser.Error) as error:
            raise BackupError(f"cannot read the keys in {path}: {error}") from error
        found: Mapping[str, str] = parser["default"] if parser.has_section("default") else {}
    else:
        found = {name.lower(): value for name, value in os.environ.items()}
    access, secret = found.get("aws_access_key_id", ""), found.get("aws_secret_access_key", "")
    if not access or not secret:
        raise BackupError(
            f"no keys for the bucket in {path or 'the environment'}: write a file with [default], aws_access_key_id = "
            "and aws_secret_access_key = , mode 0600, and name it with --credentials"
        )
    return sigv4.Keys(access, secret, found.get("aws_session_token", ""))


class Bucket:
    """Implements `Destination`."""

    def __init__(self, settings: BucketSettings, clock: Clock | None = None) -> None:
        self._settings, self._clock = settings, clock or SystemClock()
        self._session: aiohttp.ClientSession | None = None
        self._backoff = Backoff(0.2, 5.0)
        # How many parts this process has appended to a name.
        self._parts: dict[str, int] = {}

    def __str__(self) -> str:
        return f"s3://{self._settings.bucket}/{self._settings.prefix}".rstrip("/")

    async def list(self, prefix: str) -> Sequence[Item]:
        parts: dict[str, list[Item]] = {}
        for item in await self._objects(prefix):
            match = _PART.fullmatch(item.name)
            parts.setdefault(match[1] if match else item.name, []).append(item)
        return [Item(name, sum(part.size for part in _uncovered(found))) for name, found in sorted(parts.items())]

    async def put(self, name: str, path: Path) -> None:
        digest = await asyncio.to_thread(_digest, path)
        await self._send("PUT", name, body=path, digest=digest)

    async def append(self, name: str, data: bytes) -> None:
        number = self._parts.get(name, 0) + 1
        await self._send("PUT", f"{name}/{number:06}", body=data)
        self._parts[name] = number

    async def settle(self, name: str) -> None:
        self._parts.pop(name, None)
        parts = [item.name for item in await self._objects(f"{name}/")]
        left = _uncovered([Item(part, 0) for part in parts])
        if len(left) > 1:
            data = b"".join([block async for block in self.read(name)])
            numbers = [_PART.fullmatch(item.name) for item in left]
            first, last = (numbers[0] or [""] * 4)[2], numbers[-1]
            merged = f"{name}/{first}-{(last and (last[3] or last[2])) or first}"
            await self._send("PUT", merged, body=data)
            for part in parts:
                if part != merged:
                    await self._send("DELETE", part)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        found = [item for item in await self._objects(name) if item.name == name or item.name.startswith(f"{name}/")]
        if not found:
            raise BackupError(f"there is no {name} in {self} any more: somebody else removed it")
        for item in _uncovered(found):
            offset = 0
            while offset < item.size:
                block = await self._send("GET", item.name, start=offset)
                offset += len(block)
                yield block

    async def delete(self, name: str) -> None:
        for item in await self._objects(name):
            if item.name == name or item.name.startswith(f"{name}/"):
                await self._send("DELETE", item.name)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _objects(self, prefix: str) -> Sequence[Item]:
        """Objects as they are, in order."""
        found: list[Item] = []
        query = {"list-type": "2", "prefix": self._settings.prefix + prefix}
        while True:
            answer = await self._send("GET", None, query=query)
            try:
                root = ElementTree.fromstring(answer)  # noqa: S314 - of the store that holds our keys; expat bounds it
            except ElementTree.ParseError as error:
                raise BackupError(f"{self} answers no list of objects ({error}): check its --endpoint") from error
            for entry in root.iterfind("{*}Contents"):
                key = (entry.findtext("{*}Key") or "").removeprefix(self._settings.prefix)
                found.append(Item(key, int(entry.findtext("{*}Size") or 0)))
            token = root.findtext("{*}NextContinuationToken")
            if not token:
                return sorted(found, key=lambda item: item.name)
            query["continuation-token"] = token

    async def _send(
        self, method: str, name: str | None, *, query: Mapping[str, str] | None = None, body: bytes | Path = b"",
        digest: str = "", start: int = -1,
    ) -> bytes:  # fmt: skip
        """A request on an object, or with no name on the bucket; a GET from `start` gets one block."""
        reason = ""
        for failures in range(_TRIES):
            if failures:
                await self._clock.sleep(self._backoff.delay(failures - 1))
            try:
                status, data = await self._once(method, name, query or {}, body, digest, start)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = str(error) or type(error).__name__
                continue
            if status < HTTPStatus.MULTIPLE_CHOICES or (method == "DELETE" and status == HTTPStatus.NOT_FOUND):
                return data
            reason = _explained(status, data)
            if status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS:
                break
        raise BackupError(f"{self} at {self._settings.endpoint} refuses {method} {name or 'a list'}: {reason}")

    async def _once(
        self, method: str, name: str | None, query: Mapping[str, str], body: bytes | Path, digest: str, start: int
    ) -> tuple[int, bytes]:
        settings = self._settings
        path = f"/{settings.bucket}" + (f"/{settings.prefix}{name}" if name is not None else "")
        url = urlsplit(settings.endpoint)
        request = sigv4.Request(method, url.netloc, path, query, digest or hashlib.sha256(_bytes(body)).hexdigest())
        headers = sigv4.sign(request, settings.keys, settings.region, self._clock.time())
        if start >= 0:
            headers["range"] = f"bytes={start}-{start + _BLOCK - 1}"
        target = f"{settings.endpoint}{sigv4.encoded_path(path)}"
        if query:
            target += f"?{sigv4.encoded_query(query)}"
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SECONDS)
            self._session = aiohttp.ClientSession(connector=Connector(), timeout=timeout)
        if isinstance(body, Path):
            headers["content-length"] = str(body.stat().st_size)  # noqa: ASYNC240 - one look at a local file
            data: object = _blocks(body)
        else:
            data = body
        async with self._session.request(method, URL(target, encoded=True), headers=headers, data=data) as answer:
            return answer.status, await answer.read()


def _uncovered(items: Sequence[Item]) -> list[Item]:
    """Without the parts that a merged one covers, in order."""
    covered, found = "", []
    for item in sorted(items, key=_order):
        match = _PART.fullmatch(item.name)
        last = (match[3] or match[2]) if match else ""
        if not match or last > covered:
            found.append(item)
            covered = last
    return found


def _order(item: Item) -> tuple[str, str]:
    """The largest first of those that begin alike."""
    match = _PART.fullmatch(item.name)
    return (match[2], "".join(chr(0x7F - ord(c)) for c in match[3] or match[2])) if match else (item.name, "")


def _explained(status: int, data: bytes) -> str:
    """What the store said, and for what people meet most what to do."""
    try:
        code = ElementTree.fromstring(data).findtext("Code") or ""  # noqa: S314 - as above
    except ElementTree.ParseError:
        code = ""
    hints = {
        "SignatureDoesNotMatch": "the secret key is another one", "InvalidAccessKeyId": "it knows no such access key",
        "NoSuchBucket": "make the bucket first", "AccessDenied": "the keys may not do this there",
        "RequestTimeTooSkewed": "the clock of this machine is wrong",
    }  # fmt: skip
    return f"{status} {code}".strip() + (f": {hints[code]}" if code in hints else "")


def _bytes(body: bytes | Path) -> bytes:
    return body if isinstance(body, bytes) else b""


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while block := await asyncio.to_thread(file.read, _BLOCK):
            yield block
