"""Authentication: client certificates, service-account tokens and bootstrap tokens. Who shows none is nobody.

Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.api.errors import Unauthorized
from tiphys.api.http import User
from tiphys.server.bootstrap_tokens import BootstrapTokens
from tiphys.server.tokens import Tokens

ALL_AUTHENTICATED = "system:authenticated"


class Authenticator:
    def __init__(self, tokens: Tokens, bootstrap: BootstrapTokens | None = None) -> None:
        self._tokens, self._bootstrap = tokens, bootstrap

    def authenticate(self, headers: Mapping[str, str], certificate: Mapping[str, Any] | None) -> User | None:
        """The user of a request; None if it shows nothing. Raises Unauthorized for a token that does not hold."""
        authorization = headers.get("authorization", "")
        if authorization[:7].lower() == "bearer ":
            user = self._of_token(authorization[7:].strip())
            if user is None:
                raise Unauthorized("Unauthorized")
            return user
        return of_certificate(certificate) if certificate else None

    def _of_token(self, token: str) -> User | None:
        user = self._bootstrap.user(token) if self._bootstrap is not None else None
        return user or self._tokens.user(token)


def of_certificate(certificate: Mapping[str, Any]) -> User | None:
    """The user that a verified peer certificate names: CN is the name, each O a group."""
    name, groups = "", [ALL_AUTHENTICATED]
    subject: Sequence[Sequence[tuple[str, str]]] = certificate.get("subject", ())
    for part in subject:
        for key, value in part:
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    return User(name, groups=tuple(groups)) if name else None
