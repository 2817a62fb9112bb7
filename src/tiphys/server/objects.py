"""Objects on their way in: bodies decoded, metadata stamped, carried over and checked, bytes made for the store."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any

import orjson

from tiphys.api import check, facts, protobuf
from tiphys.api.errors import (
    BadRequest,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from tiphys.api.http import APPLY_PATCH, JSON
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json
from tiphys.api.schema import Schema
from tiphys.api.uid import new_uid
from tiphys.server.call import Call

MAX_BODY = 3 * 1024 * 1024
_YAML = ("application/yaml", APPLY_PATCH, "text/yaml", "application/x-yaml")
# Upstream's alphabet for generated names: no vowels, nothing that reads like another letter.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED = 5
_MAX_NAME = 253
_APART = ("apiVersion", "kind", "metadata", "status")
_SERVER_SET = ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds")


def schema_of(resource: AnyResource) -> Schema | None:
    """The schema of a resource: of the built-in facts, or its own."""
    return resource.structural or (facts.schema(resource.schema) if resource.schema else None)


def parse(body: bytes, content_type: str) -> Any:
    """A body as data. Raises RequestEntityTooLarge, UnsupportedMediaType, BadRequest."""
    return _parse(body, content_type, _json)[0]


def parse_strict(call: Call, body: bytes, content_type: str) -> tuple[Any, list[str]]:
    """A body as data, and what is said of keys that stand twice in it; nothing where the client ignores them."""
    ignore = call.field_validation == "Ignore"
    obj, found = _parse(body, content_type, _json if ignore else check.loads_strict)
    return obj, [] if ignore else found


def _json(body: bytes) -> tuple[Any, list[str]]:
    return check.loads(body), []


def _parse(body: bytes, content_type: str, loads: Callable[[bytes], tuple[Any, list[str]]]) -> tuple[Any, list[str]]:
    if len(body) > MAX_BODY:
        raise RequestEntityTooLarge(f"Request entity too large: limit is {MAX_BODY} bytes")
    media = content_type.split(";", 1)[0].strip()
    if media == protobuf.MEDIA_TYPE:
        return protobuf.decode(body), []
    if media and media != JSON and media not in _YAML and not media.endswith("+json"):
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format - accepted media types include: {JSON}, application/yaml"
        )
    try:
        return loads(body)
    except (orjson.JSONDecodeError, BadRequest) as error:
        if media not in _YAML:
            raise BadRequest(f"the object provided is unrecognized (must be of type JSON): {error}") from None
    return _parse_yaml(body)


def _parse_yaml(body: bytes) -> tuple[Any, list[str]]:
    from tiphys.api import yaml_body  # most servers never see a YAML body

    try:
        return yaml_body.loads(body)
    except yaml_body.YamlError as error:
        raise BadRequest(str(error)) from None


def decode_object(call: Call, body: bytes) -> Json:
    """The object of a create or update, in the request's version, unknown fields dealt with as asked."""
    obj, duplicates = parse_strict(call, body, call.request.headers.get("content-type", ""))
    if not isinstance(obj, dict):
        raise BadRequest("the object provided is unrecognized: a JSON object is needed")
    return check_object(call, obj, duplicates)


def check_object(call: Call, obj: Json, problems: list[str] | None = None) -> Json:
    """Check type and fields of an object; what is unknown is pruned, and refused or warned of as the client asks."""
    resource = call.resource
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if version is not None and version != resource.api_version:
        raise BadRequest(
            f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
        )
    if kind is not None and kind != resource.kind:
        raise BadRequest(f"the kind in the data ({kind}) does not match the expected kind ({resource.kind})")
    rest = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    # The stored bytes begin with these three, in this order; `cache.splice` relies on it.
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": obj.get("metadata") or {}, **rest}
    problems = list(problems or ())
    problems += _decode(resource, obj)
    if problems:
        if call.field_validation == "Strict":
            raise BadRequest(f"strict decoding error: {', '.join(problems)}")
        if call.field_validation == "Warn":
            call.warnings.extend(problems)
    return obj


def check_parts(call: Call, obj: Json, names: Collection[str]) -> Json:
    """As `check_object`, in place, where nothing but the named fields may be other than sound."""
    part = check_object(call, {name: obj[name] for name in names if name in obj})
    for name in names:
        if name in part:
            obj[name] = part[name]
        else:
            obj.pop(name, None)
    return obj


def _decode(resource: AnyResource, obj: Json) -> list[str]:
    schema = schema_of(resource)
    return check.decode(schema, obj) if schema is not None else []


def with_spec(resource: AnyResource, obj: Json) -> None:
    """Give a built-in object the spec that it has in Go even where nothing is in it."""
    if "spec" not in obj and resource.structural is None:
        schema = schema_of(resource)
        if schema is not None and "spec" in schema.properties:
            obj["spec"] = {}


def encode(obj: Json) -> bytes:
    """The bytes to store: without resourceVersion, which is the store's to give."""
    obj["metadata"].pop("resourceVersion", None)
    try:
        return orjson.dumps(obj)
    except (orjson.JSONEncodeError, TypeError) as error:
        raise BadRequest(f"the object cannot be encoded as JSON: {error}") from None


def stamp_new(obj: Json, call: Call, now: str) -> None:
    """Metadata of an object about to be created."""
    meta = obj["metadata"]
    for name in _SERVER_SET:
        meta.pop(name, None)
    if meta.get("resourceVersion"):
        raise BadRequest("resourceVersion should not be set on objects to be created")
    meta.pop("resourceVersion", None)
    if not meta.get("name") and meta.get("generateName"):
        base = meta["generateName"][: _MAX_NAME - _GENERATED]
        meta["name"] = base + "".join(random.choices(_ALPHABET, k=_GENERATED))  # noqa: S311 - a name, no secret
    meta["uid"] = new_uid()
    meta["creationTimestamp"] = now
    if call.hub.status or call.hub.structural is not None:
        meta["generation"] = 1
    else:
        meta.pop("generation", None)


def place(obj: Json, call: Call) -> None:
    """Put the object where the URL says, and refuse one that says otherwise."""
    meta, target = obj["metadata"], call.target
    if call.resource.namespaced:
        if meta.get("namespace", target.namespace) != target.namespace:
            raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
        meta["namespace"] = target.namespace
    elif meta.pop("namespace", None):
        raise BadRequest("namespace may not be set on a cluster-scoped object")
    if target.name and meta.get("name", target.name) != target.name:
        raise BadRequest(
            f"the name of the object ({meta.get('name')}) does not match the name on the URL ({target.name})"
        )
    if target.name:
        meta["name"] = target.name


def carry_over(new: Json, old: Json) -> None:
    """What an update may not change about metadata is taken from the old object."""
    meta, before = new["metadata"], old["metadata"]
    for name in ("uid", "creationTimestamp", "generation", "selfLink"):
        if name in before:
            meta[name] = before[name]
        else:
            meta.pop(name, None)
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        if name in before:
            meta[name] = before[name]
        else:
            meta.pop(name, None)
    if not meta.get("generateName") and before.get("generateName"):
        meta["generateName"] = before["generateName"]


def only_status(new: Json, old: Json) -> bool:
    """Whether everything but metadata and status was taken from the old object as it is."""
    return all(name in old and (name in _APART or value is old[name]) for name, value in new.items())


def spec_changed(call: Call, new: Json, old: Json) -> bool:
    """Whether anything but metadata (and a status that is written apart) differs: what `generation` counts."""
    skip: tuple[str, ...] = ("metadata", "apiVersion", "kind")
    if call.hub.status or call.hub.structural is None:
        skip += ("status",)
    return {k: v for k, v in new.items() if k not in skip} != {k: v for k, v in old.items() if k not in skip}
