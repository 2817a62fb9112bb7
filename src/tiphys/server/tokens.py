"""Service-account tokens: made for TokenRequest, verified for every request that shows one.

Tokens are JWTs signed with ES256; one is good as long as it is not expired and what it is bound to still exists.
Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from tiphys.api.http import User
from tiphys.api.resource import Json
from tiphys.base.clock import Clock

_ALGORITHM = "ES256"
_CACHED = 4096
# (plural, namespace, name) -> uid of what is there, or None.
Lookup = Callable[[str, str, str], str | None]


class Tokens:
    def __init__(self, key: EllipticCurvePrivateKey, issuer: str, clock: Clock, lookup: Lookup) -> None:
        self._key, self._public = key, key.public_key()
        self.issuer, self._clock, self._lookup = issuer, clock, lookup
        self._verified: dict[str, Json] = {}
        der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._key_id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    def issue(
        self, account: Json, seconds: int, audiences: Sequence[str], bound: Json | None = None
    ) -> tuple[str, float]:
        """A token for the ServiceAccount and when it expires (unix seconds), bound to `bound` ({kind, name, uid})."""
        now = int(self._clock.time())
        meta = account["metadata"]
        private: Json = {
            "namespace": meta["namespace"],
            "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
        }
        if bound:
            private[bound["kind"].lower()] = {"name": bound["name"], "uid": bound["uid"]}
        claims = {
            "iss": self.issuer, "sub": f"system:serviceaccount:{meta['namespace']}:{meta['name']}",
            "aud": list(audiences) or [self.issuer], "iat": now, "nbf": now, "exp": now + seconds,
            "jti": str(uuid.uuid4()), "kubernetes.io": private,
        }  # fmt: skip
        return jwt.encode(claims, self._key, _ALGORITHM, headers={"kid": self._key_id}), float(now + seconds)

    def user(self, token: str) -> User | None:
        """The user that `token` stands for at this API server, or None if it does not hold."""
        found = self.review(token, [self.issuer])
        return found[0] if found else None

    def review(self, token: str, audiences: Sequence[str]) -> tuple[User, list[str]] | None:
        """The user and those of `audiences` that the token is meant for."""
        claims = self._claims(token)
        if claims is None or claims["exp"] <= self._clock.time():
            return None
        meant = [audience for audience in audiences if audience in claims["aud"]]
        if not meant or not self._alive(claims["kubernetes.io"]):
            return None
        return _user(claims), meant

    def keys(self) -> Json:
        """The JSON Web Key Set under /openid/v1/jwks."""
        numbers = self._public.public_numbers()
        x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
        key = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": _ALGORITHM, "kid": self._key_id}
        return {"keys": [key]}

    def _claims(self, token: str) -> Json | None:
        known = self._verified.get(token)
        if known is not None:
            return known
        options: Any = {"verify_aud": False, "verify_exp": False, "require": ["exp", "sub", "aud"]}
        try:
            claims: Json = jwt.decode(token, self._public, [_ALGORITHM], options=options, issuer=self.issuer)
        except jwt.InvalidTokenError:
            return None
        if "kubernetes.io" not in claims:
            return None
        if len(self._verified) >= _CACHED:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    def _alive(self, private: Json) -> bool:
        namespace, account = private["namespace"], private["serviceaccount"]
        if self._lookup("serviceaccounts", namespace, account["name"]) != account["uid"]:
            return False
        for kind, plural in (("pod", "pods"), ("secret", "secrets"), ("node", "nodes")):
            bound = private.get(kind)
            if bound and self._lookup(plural, "" if kind == "node" else namespace, bound["name"]) != bound["uid"]:
                return False
        return True


def _user(claims: Json) -> User:
    private = claims["kubernetes.io"]
    extra: dict[str, list[str]] = {"authentication.kubernetes.io/credential-id": [f"JTI={claims.get('jti', '')}"]}
    for kind in ("pod", "node"):
        if kind in private:
            extra[f"authentication.kubernetes.io/{kind}-name"] = [private[kind]["name"]]
            extra[f"authentication.kubernetes.io/{kind}-uid"] = [private[kind]["uid"]]
    namespace = private["namespace"]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(claims["sub"], private["serviceaccount"]["uid"], groups, extra)
