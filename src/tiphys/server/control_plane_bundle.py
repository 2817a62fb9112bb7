"""The keys of the cluster's CAs, for a machine that becomes a control plane.

Only a bootstrap token of the control planes' group opens it, and what is sent is sealed with a key made from that
token's secret besides TLS, so that whatever terminates TLS or writes bodies into a log does not hold the keys.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping

import orjson

from tiphys.api.bootstrap_tokens import CONTROL_PLANE, USER_PREFIX
from tiphys.api.errors import Forbidden
from tiphys.api.http import Request, Response
from tiphys.base.log import Log
from tiphys.server.app import ApiServer
from tiphys.server.bootstrap_tokens import BootstrapTokens

_log = Log("server")
PATH = "/tiphys/v1/control-plane-bundle"
_PURPOSE = b"tiphys control plane bundle v1 "


def install(server: ApiServer, tokens: BootstrapTokens, read: Callable[[], Awaitable[Mapping[str, bytes]]]) -> None:
    """`read` gives the files by name. Roles say who may ask; the token's secret is what it is sealed with."""

    async def bundle(request: Request) -> Response:
        user = request.user
        secret = tokens.secret_of(user) if user is not None and CONTROL_PLANE in user.groups else ""
        if user is None or not secret:
            raise Forbidden("the control plane bundle is for bearers of a control plane's join token only")
        _log.info("control plane bundle given", token=user.name)
        body = seal(await read(), user.name.removeprefix(USER_PREFIX), secret)
        return Response(200, body, headers={"Cache-Control": "no-store"})

    server.extensions.pages[PATH] = bundle


def seal(files: Mapping[str, bytes], identity: str, secret: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = os.urandom(16), os.urandom(12)
    plain = orjson.dumps({name: b64encode(data).decode() for name, data in files.items()})
    data = AESGCM(_key(secret, salt, identity)).encrypt(nonce, plain, identity.encode())
    parts = {"salt": salt, "nonce": nonce, "data": data}
    return orjson.dumps({name: b64encode(part).decode() for name, part in parts.items()})


def open_sealed(body: bytes, identity: str, secret: str) -> dict[str, bytes]:
    """The files by name. Raises ValueError for what is not sealed with this token, or was altered."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        parts = {name: b64decode(part) for name, part in orjson.loads(body).items()}
        key = _key(secret, parts["salt"], identity)
        plain = orjson.loads(AESGCM(key).decrypt(parts["nonce"], parts["data"], identity.encode()))
    except (InvalidTag, KeyError, AttributeError, orjson.JSONDecodeError) as error:
        raise ValueError("the control plane bundle is not sealed with this token, or was altered") from error
    return {name: b64decode(data) for name, data in plain.items()}


def _key(secret: str, salt: bytes, identity: str) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(hashes.SHA256(), 32, salt, _PURPOSE + identity.encode()).derive(secret.encode())
