"""The AdmissionReview that webhooks get and give: the request put together, the answer taken apart and verified.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#webhook-request-and-response
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tiphys.api import errors
from tiphys.api.http import User
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes

VERSIONS = ("v1", "v1beta1")
_GROUP = "admission.k8s.io"


class InvalidAnswer(Exception):
    """The webhook's answer breaks the contract; the text says how."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`patch` is a list of JSON patch operations, or None; `status` the webhook's reason for a refusal."""

    allowed: bool
    status: Json
    patch: list[Any] | None
    warnings: Sequence[str]
    annotations: Mapping[str, str]


def review(attributes: Attributes, resource: AnyResource, version: str) -> Json:
    """The request, with the objects as the version `resource` has them."""
    requested = attributes.requested
    request: Json = {
        "uid": str(uuid.uuid4()),
        "kind": _kind(attributes.kind_in(resource)),
        "resource": _resource(resource),
        "requestKind": _kind(attributes.kind_in(requested)),
        "requestResource": _resource(requested),
    }
    if attributes.subresource:
        request["subResource"] = request["requestSubResource"] = attributes.subresource
    for name in ("name", "namespace"):
        if getattr(attributes, name):
            request[name] = getattr(attributes, name)
    request |= {
        "operation": attributes.operation, "userInfo": user_info(attributes.user),
        "object": attributes.shown_in(resource, attributes.obj),
        "oldObject": attributes.shown_in(resource, attributes.old),
        "dryRun": attributes.dry_run, "options": attributes.options or None,
    }  # fmt: skip
    return {"kind": "AdmissionReview", "apiVersion": f"{_GROUP}/{version}", "request": request}


def user_info(user: User) -> Json:
    info: Json = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info


def _kind(kind: tuple[str, str, str]) -> Json:
    return {"group": kind[0], "version": kind[1], "kind": kind[2]}


def _resource(resource: AnyResource) -> Json:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def verdict(sent: Json, answer: Json, *, mutating: bool) -> Verdict:
    """What the answer to `sent` says. Raises InvalidAnswer."""
    response = answer.get("response")
    if not isinstance(response, dict):
        raise InvalidAnswer("webhook response was absent")
    v1 = sent["apiVersion"].endswith("/v1")
    if v1:
        _check_identity(sent, answer, response)
    patch, kind = response.get("patch"), response.get("patchType")
    if not mutating:
        for name, value in (("patch", patch), ("patchType", kind)):
            if value and v1:
                raise InvalidAnswer(f"validating webhook may not return response.{name}")
        patch = None
    elif v1 and bool(patch) != bool(kind):
        has, lacks = ("patch", "patchType") if patch else ("patchType", "patch")
        raise InvalidAnswer(f"webhook returned response.{has} but not response.{lacks}")
    if patch and (kind or "JSONPatch") != "JSONPatch":
        raise InvalidAnswer(f'unsupported patch type "{kind}"')
    status = response.get("status") or {}
    return Verdict(
        response.get("allowed") is True, status if isinstance(status, dict) else {}, _decode(patch) if patch else None,
        [str(text) for text in response.get("warnings") or ()],
        {str(key): str(value) for key, value in (response.get("auditAnnotations") or {}).items()},
    )  # fmt: skip


def _check_identity(sent: Json, answer: Json, response: Json) -> None:
    uid, given = sent["request"]["uid"], response.get("uid", "")
    if given != uid:
        raise InvalidAnswer(f'expected response.uid="{uid}", got "{given}"')
    if (answer.get("apiVersion"), answer.get("kind")) != (sent["apiVersion"], "AdmissionReview"):
        wanted = f"{sent['apiVersion']}, Kind=AdmissionReview"
        found = f"{answer.get('apiVersion') or ''}, Kind={answer.get('kind') or ''}"
        raise InvalidAnswer(f"expected webhook response of {wanted}, got {found}")


def _decode(patch: Any) -> list[Any]:
    try:
        operations = orjson.loads(base64.b64decode(patch, validate=True))
    except (binascii.Error, orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise InvalidAnswer(f"response.patch is not base64 of a JSON patch: {error}") from None
    if not isinstance(operations, list):
        raise InvalidAnswer("response.patch is not a list of operations")
    return operations


def refusal(name: str, status: Json) -> errors.ApiError:
    """The error that a request ends with which the webhook `name` refuses with `status`."""
    head = f'admission webhook "{name}" denied the request'
    said = status.get("message") or status.get("reason")
    message = f"{head}: {said}" if said else f"{head} without explanation"
    code = status.get("code")
    code = code if isinstance(code, int) and code >= 400 else 400
    error = errors.ApiError(message, details=status.get("details") or {}, code=code)
    error.reason = status.get("reason") or ""
    return error
