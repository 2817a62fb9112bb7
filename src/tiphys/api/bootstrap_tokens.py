"""Bootstrap tokens: with one, a machine that has no certificate yet shows that it was invited.

Each is a Secret in kube-system. What somebody publishes for such machines is signed with the tokens, too: a detached
JWS (HS256), so that who holds a token can tell it from a forgery before it trusts any certificate.
Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tiphys.api import time

TYPE, NAMESPACE, NAME_PREFIX = "bootstrap.kubernetes.io/token", "kube-system", "bootstrap-token-"
USER_PREFIX, GROUP = "system:bootstrap:", "system:bootstrappers"
# Of tokens for control planes: who is in it may read the keys of the cluster's CAs.
CONTROL_PLANE = f"{GROUP}:tiphys:control-plane"
# What is signed, in a ConfigMap of kube-public, and where a control plane's keys are served.
CLUSTER_INFO, SIGNED, SIGNATURE_PREFIX = "cluster-info", "kubeconfig", "jws-kubeconfig-"
AUTHENTICATION, SIGNING = "authentication", "signing"
_ID, _SECRET = re.compile(r"[a-z0-9]{6}"), re.compile(r"[a-z0-9]{16}")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """`expires` is in unix seconds, None for never; `groups` are those besides `system:bootstrappers`."""

    id: str
    secret: str = field(repr=False)
    expires: float | None = None
    usages: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()
    description: str = ""

    def alive(self, now: float) -> bool:
        return self.expires is None or now < self.expires


def split(text: str) -> tuple[str, str] | None:
    """ID and secret of `ID.SECRET`; None for what is no bootstrap token."""
    identity, _, secret = text.partition(".")
    return (identity, secret) if _ID.fullmatch(identity) and _SECRET.fullmatch(secret) else None


def of_secret(name: str, data: Mapping[str, bytes]) -> BootstrapToken | None:
    """The token that a Secret of this name in kube-system holds; None where it holds none that is in order."""
    text = {key: value.decode(errors="replace") for key, value in data.items()}
    both = split(f"{text.get('token-id', '')}.{text.get('token-secret', '')}")
    if both is None or name != NAME_PREFIX + both[0]:
        return None
    groups = tuple(part.strip() for part in text.get("auth-extra-groups", "").split(",") if part.strip())
    if not all(_EXTRA_GROUP.fullmatch(group) for group in groups):
        return None
    usages = (key.removeprefix("usage-bootstrap-") for key, value in text.items()
              if key.startswith("usage-bootstrap-") and value == "true")  # fmt: skip
    return BootstrapToken(
        both[0], both[1], _expiration(text.get("expiration", "")), frozenset(usages), groups,
        text.get("description", ""),
    )  # fmt: skip


def _expiration(text: str) -> float | None:
    """A time that cannot be read is long past: nobody meant such a token to last for ever."""
    if not text:
        return None
    try:
        return time.seconds(text)
    except ValueError:
        return 0.0


def signature(content: str, token: BootstrapToken) -> str:
    """The detached JWS of `content`: header, nothing, signature."""
    header = _base64(json.dumps({"alg": "HS256", "kid": token.id}, separators=(",", ":")).encode())
    return f"{header}..{_mac(header, content, token.secret)}"


def signed_by(content: str, jws: str, secret: str) -> bool:
    """Whether `jws` is the signature of `content` with a token's secret."""
    header, _, mac = jws.partition("..")
    return hmac.compare_digest(mac, _mac(header, content, secret))


def _mac(header: str, content: str, secret: str) -> str:
    signed = f"{header}.{_base64(content.encode())}".encode()
    return _base64(hmac.digest(secret.encode(), signed, hashlib.sha256))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
