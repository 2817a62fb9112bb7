"""Conversion of custom objects between versions: by changing apiVersion alone, or by a webhook.

A webhook is asked once for many objects; what it answers must be the same objects: only labels and annotations of
their metadata may change.
Source: upstream's `apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go` and
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, Protocol

from tiphys.api import names
from tiphys.api.errors import ApiError
from tiphys.api.resource import Json
from tiphys.base.metrics import Counter, Histogram
from tiphys.server.webhook_client import WebhookClient, WebhookError

SECONDS = 30.0
# Objects of one question: what a server can answer in time, and what its answer may weigh.
_BATCH = 500
_GROUP = "apiextensions.k8s.io"
_KNOWN = ("v1", "v1beta1")
_ASKED = Counter(
    "apiserver_conversion_webhook_request_total", "Questions to conversion webhooks.", ("result", "failure")
)
_TOOK = Histogram(
    "apiserver_conversion_webhook_duration_seconds", "Time that conversion webhooks took.", ("result",),
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 45, 60),
)  # fmt: skip


class ConversionFailed(ApiError):
    """Upstream gives it no reason."""

    code, reason = 500, ""


class Converter(Protocol):
    # Whether converting means asking somebody else.
    remote: bool

    async def convert(self, objects: Sequence[Json], api_version: str) -> list[Json]:
        """The objects in that version, new ones where they were of another. Raises ConversionFailed."""


class Renaming:
    """Strategy None: every version has the same fields."""

    remote = False

    async def convert(self, objects: Sequence[Json], api_version: str) -> list[Json]:
        return [obj if obj.get("apiVersion") == api_version else {**obj, "apiVersion": api_version} for obj in objects]


class Webhook:
    """Strategy Webhook. `config` is `spec.conversion.webhook`."""

    remote = True

    def __init__(self, client: WebhookClient, config: Json) -> None:
        self._client = client
        self._config: Json = config.get("clientConfig") or {}
        self._versions: list[str] = config.get("conversionReviewVersions") or []

    async def convert(self, objects: Sequence[Json], api_version: str) -> list[Json]:
        made = list(objects)
        due = [index for index, obj in enumerate(made) if obj.get("apiVersion") != api_version]
        for start in range(0, len(due), _BATCH):
            part = due[start : start + _BATCH]
            for index, obj in zip(part, await self._ask([made[i] for i in part], api_version), strict=True):
                made[index] = obj
        return made

    async def _ask(self, objects: list[Json], api_version: str) -> list[Json]:
        what = f"{objects[0].get('apiVersion')}, Kind={objects[0].get('kind')}"
        started, failure = asyncio.get_running_loop().time(), "conversion_webhook_call_failure"
        try:
            sent = self._review(objects, api_version)
            answer = await self._client.call(self._config, sent, SECONDS)
            failure = "conversion_webhook_malformed_response_failure"
            converted = _converted(sent, answer)
            if len(converted) != len(objects):
                raise _Unusable(f"returned {len(converted)} objects, expected {len(objects)}")
            failure = "conversion_webhook_invalid_converted_object_failure"
            made = [
                _checked(old, new, api_version, at)
                for at, (old, new) in enumerate(zip(objects, converted, strict=True))
            ]
            failure = ""
        except WebhookError as error:
            raise ConversionFailed(f"conversion webhook for {what} failed: {error}") from error
        except _Unusable as error:
            raise ConversionFailed(f"conversion webhook for {what} {error}") from None
        finally:
            result = "failure" if failure else "success"
            _ASKED.inc(result, failure)
            _TOOK.observe(asyncio.get_running_loop().time() - started, result)
        return made

    def _review(self, objects: list[Json], api_version: str) -> Json:
        version = next((version for version in self._versions if version in _KNOWN), None)
        if version is None:
            raise _Unusable("failed: no supported conversion review versions")
        request = {"uid": str(uuid.uuid4()), "desiredAPIVersion": api_version, "objects": objects}
        return {"kind": "ConversionReview", "apiVersion": f"{_GROUP}/{version}", "request": request}


class _Unusable(Exception):
    """The rest of upstream's sentence "conversion webhook for VERSION, Kind=KIND ..."."""


def _converted(sent: Json, answer: Json) -> list[Any]:
    """The objects of an answer to the review `sent`. Raises _Unusable."""
    strict = sent["apiVersion"] == f"{_GROUP}/v1"
    if strict and (answer.get("apiVersion"), answer.get("kind")) != (sent["apiVersion"], sent["kind"]):
        found = f"{answer.get('apiVersion', '')}, Kind={answer.get('kind', '')}"
        raise _Unusable(
            f"failed: expected webhook response of {sent['apiVersion']}, Kind=ConversionReview, got {found}"
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise _Unusable("failed: no response provided")
    wanted = sent["request"]["uid"]
    if strict and response.get("uid") != wanted:
        raise _Unusable(f'failed: expected response.uid="{wanted}", got "{response.get("uid", "")}"')
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        told = result.get("message") or f"response.result.status was '{result.get('status', '')}', not 'Success'"
        raise _Unusable(f"failed: {told}")
    objects = response.get("convertedObjects")
    return objects if isinstance(objects, list) else []


def _checked(old: Json, new: Any, api_version: str, at: int) -> Json:
    """`new` with the metadata of `old`, less labels and annotations. Raises _Unusable."""
    where = f"invalid converted object at index {at}"
    if not isinstance(new, dict):
        raise _Unusable(f"returned {where}: not an object")
    if new.get("apiVersion") != api_version:
        raise _Unusable(
            f"returned {where}: invalid groupVersion (expected {api_version}, received {new.get('apiVersion', '')})"
        )
    if new.get("kind") != old.get("kind"):
        raise _Unusable(f"returned {where}: invalid kind (expected {old.get('kind')}, received {new.get('kind', '')})")
    before, meta = old["metadata"], new.get("metadata")
    about = f"invalid metadata in object at index {at}"
    if meta is not None and not isinstance(meta, dict):
        raise _Unusable(f"returned {about}: invalid metadata of type {type(meta).__name__} in converted object")
    for field, shown in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        one, other = before.get(field) or "", (meta or {}).get(field) or ""
        if one != other:
            raise _Unusable(f"returned {where}: must have the same {shown}: {one} != {other}")
    if meta is None:
        raise _Unusable(f"returned {about}: missing metadata in converted object")
    kept = {name: value for name, value in before.items() if name not in ("labels", "annotations")}
    for field in ("labels", "annotations"):
        if meta.get(field) is not None:
            kept[field] = _strings(meta[field], before.get(field), field, about)
    # The stored bytes begin with these three, in this order; `cache.splice` relies on it.
    rest = {name: value for name, value in new.items() if name not in ("apiVersion", "kind", "metadata")}
    return {"apiVersion": api_version, "kind": new["kind"], "metadata": kept, **rest}


def _strings(value: Any, before: Any, field: str, about: str) -> Json:
    if not isinstance(value, dict):
        raise _Unusable(
            f"returned {about}: invalid metadata.{field} of type {type(value).__name__} in converted object"
        )
    for name, each in value.items():
        if not isinstance(each, str):
            kind = type(each).__name__
            raise _Unusable(
                f"returned {about}: metadata.{field}[{name}] must be a string, but is {kind} in converted object"
            )
    if value != before:
        check = names.validate_labels if field == "labels" else names.validate_annotations
        problem = next(iter(check(value, f"metadata.{field}")), None)
        if problem is not None:
            raise _Unusable(f"returned {about}: {problem}")
    return value
