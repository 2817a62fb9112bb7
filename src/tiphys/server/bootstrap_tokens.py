"""Authentication by bootstrap token: the Secret `bootstrap-token-ID` of kube-system says whether one holds.

Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#enabling-bootstrap-token-authentication
"""

from __future__ import annotations

import hmac
from base64 import b64decode

from tiphys.api import bootstrap_tokens
from tiphys.api.bootstrap_tokens import AUTHENTICATION, GROUP, NAME_PREFIX, NAMESPACE, USER_PREFIX, BootstrapToken
from tiphys.api.http import User
from tiphys.base.clock import Clock
from tiphys.server.cache import Cache

_SECRETS = "/registry/core/secrets/"


class BootstrapTokens:
    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._secrets, self._clock = cache.of(_SECRETS), clock

    def user(self, text: str) -> User | None:
        """`system:bootstrap:ID` for a token that holds at this moment, None for any other text."""
        token = self.token(text)
        if token is None or AUTHENTICATION not in token.usages or not token.alive(self._clock.time()):
            return None
        return User(USER_PREFIX + token.id, groups=(GROUP, *token.groups, "system:authenticated"))

    def token(self, text: str) -> BootstrapToken | None:
        """The token whose ID and secret `text` holds, whatever it may be used for and however old it is."""
        both = bootstrap_tokens.split(text)
        if both is None:
            return None
        found = self._find(both[0])
        # Even an unknown ID costs a comparison, so that time tells nothing.
        right = hmac.compare_digest(both[1], found.secret if found is not None else "")
        return found if right else None

    def secret_of(self, user: User) -> str:
        """The secret that a user authenticated with; empty where that was no bootstrap token."""
        if not user.name.startswith(USER_PREFIX):
            return ""
        found = self._find(user.name.removeprefix(USER_PREFIX))
        return found.secret if found is not None else ""

    def _find(self, identity: str) -> BootstrapToken | None:
        name = NAME_PREFIX + identity
        entry = self._secrets.items.get(f"{_SECRETS}{NAMESPACE}/{name}")
        if entry is None:
            return None
        secret = entry.decode()
        if secret.get("type") != bootstrap_tokens.TYPE or secret["metadata"].get("deletionTimestamp"):
            return None
        data = {key: b64decode(value) for key, value in (secret.get("data") or {}).items()}
        return bootstrap_tokens.of_secret(name, data)
