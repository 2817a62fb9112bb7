"""Finds out whom to trust of a cluster of which a machine knows nothing but a URL and a join token.

The first answer is read without any trust. It must be signed with the token, or hold the CA whose public key the token
pins; from then on only that is trusted. Nothing secret is sent before.
Source: https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-join/#token-based-discovery-with-ca-pinning
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import orjson
from cryptography import x509

from tiphys.api.bootstrap_tokens import CLUSTER_INFO, SIGNATURE_PREFIX, SIGNED, signed_by
from tiphys.base.clock import Clock
from tiphys.base.outgoing import Connector
from tiphys.main.cluster import ClusterError
from tiphys.main.leaf import pem, pins_of
from tiphys.main.token import JoinToken
from tiphys.main.trusted_bundle import bundle_of

_PATH = f"/api/v1/namespaces/kube-public/configmaps/{CLUSTER_INFO}"
_TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=5)
# Certificates begin five minutes before they are made; tokens and leases go by the clock as well.
_MAX_SKEW = 120.0


@dataclass(frozen=True, slots=True)
class Trust:
    """`bundle` is PEM, and what it holds is the cluster's; `known` is whether the token's ID is the cluster's, too."""

    bundle: bytes
    known: bool

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.bundle.decode())


def checked_url(text: str) -> str:
    """The URL of a server without anything after its port. Raises ClusterError."""
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ClusterError(f"{text!r} is no URL of an API server; write it as https://192.0.2.1:6443")
    return f"https://{parts.netloc}"


async def discover(url: str, token: JoinToken, clock: Clock) -> Trust:
    """Raises ClusterError where nobody answers there, clocks differ, or the cluster is not the token's."""
    status, headers, body = await _unverified(url)
    _check_clock(url, headers.get("Date", ""), clock)
    try:
        data: Mapping[str, str] = orjson.loads(body)["data"] if status == 200 else {}
        content = data[SIGNED]
        bundle = bundle_of(content)
        pins = pins_of(bundle)
    except (ValueError, KeyError, TypeError, IndexError):
        raise ClusterError(
            f"what answers at {url} is no Tiphys API server that machines can join, or is just starting "
            f"(GET {_PATH}: {status}); check the address, or try again in a moment"
        ) from None
    if token.pin not in pins:
        raise ClusterError(
            f"the cluster at {url} is not the one that the token is for: its CA's key is {pins[0][:16]}..., the token "
            f"expects {token.pin[:16]}...; use the URL and the token of one `tiphys token create`"
        )
    signature = data.get(SIGNATURE_PREFIX + token.id, "")
    if signature and signed_by(content, signature, token.secret):
        return Trust(bundle, known=True)
    pinned = [each for each in x509.load_pem_x509_certificates(bundle) if pins_of(pem(each)) == [token.pin]]
    return Trust(b"".join(map(pem, pinned)), known=bool(signature))


async def _unverified(url: str) -> tuple[int, Mapping[str, str], bytes]:
    """The one request whose answer is not to be trusted."""
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    try:
        async with (
            aiohttp.ClientSession(connector=Connector(ssl=tls), timeout=_TIMEOUT) as session,
            session.get(url + _PATH) as answer,
        ):
            return answer.status, answer.headers, await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ClusterError(
            f"no API server answers at {url} ({error or type(error).__name__}); check the address, and that no "
            "firewall is between"
        ) from error


def _check_clock(url: str, date: str, clock: Clock) -> None:
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return
    ahead = clock.time() - theirs
    if abs(ahead) > _MAX_SKEW:
        word = "ahead of" if ahead > 0 else "behind"
        raise ClusterError(
            f"this machine's clock is {abs(ahead):.0f} s {word} that of {url}; certificates and tokens go by time: set "
            "both clocks, best by NTP (`timedatectl set-ntp true`), and begin again"
        )
