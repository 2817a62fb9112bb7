"""What a client accepts: the media type and the shape (object, Table, metadata only) of the answer.

JSON is what the store holds, so it costs nothing to send: wherever the client accepts it as well as something else, it
gets JSON. Bytes in another encoding are made from the JSON answer at the very end (docs/adr/protobuf.md).
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache

import orjson

from tiphys.api import protobuf
from tiphys.api.errors import NotAcceptable
from tiphys.api.http import JSON, Request, Response
from tiphys.api.registry import AnyResource

YAML = "application/yaml"
PROTOBUF = protobuf.MEDIA_TYPE
_ANY = ("*/*", "application/*")
_SHAPES = {"Table": "table", "PartialObjectMetadata": "partial", "PartialObjectMetadataList": "partial"}
_SUPPORTED = ", ".join((JSON, YAML, PROTOBUF))
# Answers beyond this many bytes are turned into another encoding beside the event loop.
_LARGE = 128 * 1024


@dataclass(frozen=True, slots=True)
class Form:
    """`shape` is object, table or partial; `include` is how much of the object a table row carries."""

    shape: str = "object"
    include: str = "Metadata"
    media: str = JSON


PLAIN = Form()


def form_of(request: Request, resource: AnyResource | None = None) -> Form:
    """The form to answer in. Raises NotAcceptable where the client accepts none that there is."""
    accept = request.headers.get("accept", "")
    if not accept or accept == JSON:
        return PLAIN
    for form in _forms(accept):
        if resource is not None and not _has(resource, form, request):
            continue
        include = request.param("includeObject")
        return Form(form.shape, include, form.media) if include else form
    raise NotAcceptable(f"only the following media types are accepted: {_SUPPORTED}")


def _has(resource: AnyResource, form: Form, request: Request) -> bool:
    if form.shape == "table" and "get" not in resource.verbs:
        # Reviews have no metadata that rows could be about.
        return False
    if form.media == PROTOBUF:
        return form.shape == "partial" or protobuf.speaks(resource.api_version, resource.kind)
    return form.media != YAML or not request.flag("watch")


@lru_cache(maxsize=256)
def _forms(accept: str) -> tuple[Form, ...]:
    """The forms of an Accept header, best first: by quality, and as they stand; JSON before others of its shape."""
    found = sorted(_choices(accept), key=lambda choice: -choice[0])
    if not found:
        return ()
    shape = found[0][1].shape
    best = [form for quality, form in found if quality == found[0][0]]
    plain = [form for form in best if form.media == JSON and form.shape == shape]
    return (*plain[:1], *(form for _, form in found))


def _choices(accept: str) -> Iterator[tuple[float, Form]]:
    for choice in accept.split(","):
        media, *params = (part.strip() for part in choice.split(";"))
        options = dict(param.split("=", 1) for param in params if "=" in param)
        try:
            quality = float(options.get("q", "1"))
        except ValueError:
            continue
        media = JSON if media in _ANY else media
        if media not in (JSON, YAML, PROTOBUF) or quality <= 0:
            continue
        shape = "object"
        if "as" in options:
            shape = _SHAPES.get(options["as"], "")
            known = options.get("g") == "meta.k8s.io" and options.get("v") == "v1"
            if not shape or not known or (shape == "table" and media == PROTOBUF):
                continue
        yield quality, Form(shape, media=media)


async def encoded(response: Response, media: str) -> Response:
    """A JSON answer in the encoding that was negotiated."""
    if media == JSON or response.content_type != JSON:
        return response
    if response.stream is not None:
        response.stream = _frames(response.stream)
        response.content_type = f"{PROTOBUF};stream=watch"
    elif response.body:
        body = response.body
        encode = _yaml if media == YAML else _protobuf
        response.body = await asyncio.to_thread(encode, body) if len(body) > _LARGE else encode(body)
        response.content_type = media
    return response


def _protobuf(body: bytes) -> bytes:
    return protobuf.encode(orjson.loads(body))


def _yaml(body: bytes) -> bytes:
    # Loaded for the few who ask for YAML.
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(orjson.loads(body), Dumper=dumper, default_flow_style=False, allow_unicode=True)
    return text.encode()


async def _frames(lines: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The lines of a watch as protobuf frames."""
    async with aclosing(lines) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            events = [orjson.loads(line) for line in chunk.splitlines()]
            yield b"".join(protobuf.watch_frame(event["type"], event["object"]) for event in events)
