"""The official client's connections with plain JSON in and out: every answer, also a refusal, can be looked at."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from kubernetes import client

Json = dict[str, Any]


@dataclass
class Answer:
    code: int
    body: Any
    headers: dict[str, str]


class Rest:
    def __init__(self, api: client.ApiClient) -> None:
        self.api = api
        self._pool = api.rest_client.pool_manager

    def _url(self, path: str, query: Json) -> str:
        return f"{self.api.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")

    def __call__(
        self, method: str, path: str, body: Any = None, *, media: str = "application/json",
        accept: str = "application/json", **query: Any,
    ) -> Answer:  # fmt: skip
        """`media` is the body's type; `query` are parameters of the URL, in its own spelling."""
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        headers = {"Accept": accept} | ({"Content-Type": media} if data is not None else {})
        found = self._pool.request(method, self._url(path, query), body=data, headers=headers)
        text = found.data.decode()
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = text
        return Answer(found.status, parsed, dict(found.headers))

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = self(method, path, body, **options)
        assert answer.code < 300, answer
        return answer.body

    def merge(self, path: str, patch: Any, **options: Any) -> Any:
        return self.ok("PATCH", path, patch, media="application/merge-patch+json", **options)

    def apply(self, path: str, obj: Json, manager: str, **options: Any) -> Answer:
        return self("PATCH", path, obj, media="application/apply-patch+yaml", fieldManager=manager, **options)

    def events(self, path: str, **query: Any) -> Iterator[tuple[str, Json]]:
        """(type, object) of a watch, which is open when this returns, until the server ends it."""
        url = self._url(path, {"watch": "true", **query})
        found = self._pool.request("GET", url, headers={"Accept": "application/json"}, preload_content=False)
        assert found.status == 200, found.data
        return self._lines(found)

    def _lines(self, found: Any) -> Iterator[tuple[str, Json]]:
        rest = b""
        try:
            for chunk in found.stream(amt=None, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["type"], event["object"]
        finally:
            found.close()

    def watch_until(self, path: str, done: Callable[[str, Json], bool], seconds: int = 30, **query: Any) -> Json:
        """The first object of a watch for which `done(type, object)`; fails after the deadline."""
        for kind, obj in self.events(path, timeoutSeconds=seconds, **query):
            if done(kind, obj):
                return obj
        raise AssertionError(f"not seen in {seconds} s on {path}")

    def until(self, path: str, done: Callable[[Answer], bool], seconds: float = 30, **options: Any) -> Answer:
        """Ask until the answer is right, for what cannot be watched."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self("GET", path, **options)
            if done(answer):
                return answer
            assert time.monotonic() < deadline, f"not in {seconds} s on {path}: {answer}"
            time.sleep(0.05)
