"""Small subresources: namespaces/finalize, serviceaccounts/token, certificatesigningrequests/approval."""

from __future__ import annotations

import orjson

from tiphys.api import errors
from tiphys.api.http import Response
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.server import objects
from tiphys.server.app import ApiServer
from tiphys.server.call import Call
from tiphys.server.changes import Change, changer
from tiphys.server.tokens import Tokens

_MIN_SECONDS, _DEFAULT_SECONDS, _MAX_SECONDS = 600, 3600, 2**32
_API = "authentication.k8s.io/v1"


def install(server: ApiServer, tokens: Tokens) -> None:
    async def finalize(call: Call) -> Response:
        return await server.writes.modify(call, _Part(_inner(call), "spec"))

    async def approval(call: Call) -> Response:
        if call.target.verb == "get":
            return await server.reads.get(call)
        return await server.writes.modify(call, _Part(_inner(call), "status"))

    async def token(call: Call) -> Response:
        return await _issue(server, tokens, call)

    table = server.extensions.subresources
    table["", "namespaces", "finalize"] = finalize
    table["certificates.k8s.io", "certificatesigningrequests", "approval"] = approval
    table["", "serviceaccounts", "token"] = token


def _inner(call: Call) -> Change:
    if call.target.verb not in ("update", "patch"):
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    return changer(call, objects.decode_object(call, call.request.body) if call.target.verb == "update" else None)


class _Part(Change):
    """A change of which only one top-level field counts."""

    def __init__(self, inner: Change, field: str) -> None:
        self._inner, self._field = inner, field
        self.conditional, self.manages = inner.conditional, inner.manages

    def apply(self, call: Call, current: Json) -> Json:
        return self._inner.apply(call, current)

    def confine(self, call: Call, new: Json, old: Json) -> None:
        part = new.get(self._field)
        managed = new["metadata"].get("managedFields")
        new.clear()
        new.update(orjson.loads(orjson.dumps(old)))
        if part is not None:
            new[self._field] = part
        if managed is not None:
            new["metadata"]["managedFields"] = managed


async def _issue(server: ApiServer, tokens: Tokens, call: Call) -> Response:
    """TokenRequest: a token for the service account, perhaps bound to a pod, secret or node."""
    if call.target.verb != "create":
        raise errors.MethodNotAllowed("the server does not allow this method on the requested resource")
    body = objects.parse(call.request.body, call.request.headers.get("content-type", ""))
    if not isinstance(body, dict):
        raise errors.BadRequest("a JSON object is needed")
    await server.writes.admit_body(call, body)
    spec = body.get("spec") or {}
    account = (await server.reads.entry(call)).decode()
    seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
    if not isinstance(seconds, int) or not _MIN_SECONDS <= seconds <= _MAX_SECONDS:
        low = isinstance(seconds, int) and seconds < _MIN_SECONDS
        why = (
            "may not specify a duration less than 10 minutes" if low else "may not specify a duration larger than 2^32"
        )
        problem = errors.invalid("spec.expirationSeconds", seconds, why)
        raise errors.invalid_object("authentication.k8s.io", "TokenRequest", "", [problem])
    bound = await _bound(server, call, spec.get("boundObjectRef"))
    text, expires = tokens.issue(account, seconds, spec.get("audiences") or [], bound)
    spec = {**spec, "expirationSeconds": seconds, "audiences": spec.get("audiences") or [tokens.issuer]}
    meta = {name: account["metadata"][name] for name in ("name", "namespace")}
    answer = {
        "kind": "TokenRequest", "apiVersion": _API, "metadata": meta | {"creationTimestamp": rfc3339(call.now)},
        "spec": spec, "status": {"token": text, "expirationTimestamp": rfc3339(expires)},
    }  # fmt: skip
    return Response(201, orjson.dumps(answer))


async def _bound(server: ApiServer, call: Call, reference: Json | None) -> Json | None:
    if not reference:
        return None
    plural = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}.get(reference.get("kind", ""))
    if plural is None:
        problem = errors.invalid("spec.boundObjectRef.kind", reference.get("kind"), "must be Pod, Secret or Node")
        raise errors.invalid_object("authentication.k8s.io", "TokenRequest", "", [problem])
    found = (await server.reads.entry(server.as_other(call, plural, reference.get("name", "")))).decode()
    uid = found["metadata"]["uid"]
    if reference.get("uid") not in (None, "", uid):
        raise errors.conflict(
            "", plural, reference["name"], f"the UID in the bound object reference ({reference['uid']}) does not match "
            f"the UID in record ({uid}). The object might have been deleted and then recreated"
        )  # fmt: skip
    return {"kind": reference["kind"], "name": found["metadata"]["name"], "uid": uid}
