"""Replaces the cluster's CA by another while everything runs: first both are trusted, then the new one signs, then the
old one goes.

How far that is stands in the Secret `tiphys-ca-rotation`, and every server brings its own files to that point, also one
that was away meanwhile. The new CA's key is in it, sealed with the old CA's key, which every control plane has.
Source, for the order: https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tiphys.api.meta import Key as ObjectKey
from tiphys.api.resource import Json
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.kinds.core.secret import SECRETS, Secret
from tiphys.main.cluster import ClusterError, write_private
from tiphys.main.follower import Follower
from tiphys.main.leaf import Issuer, Key, fits, key_of, make_ca, new_key, pem, pin_of, pins_of
from tiphys.main.pki import Pki, load_key
from tiphys.server.control_plane_bundle import open_sealed, seal

_log = Log("certificates")
NAME, NAMESPACE = "tiphys-ca-rotation", "kube-system"
TRUST, SWITCH, FINISH = PHASES = ("trust", "switch", "finish")
_CERTIFICATE, _KEY = "ca.crt", "ca.key"


class State(msgspec.Struct, frozen=True):
    """`phase` is how far it is; `certificate` the new CA's in PEM; `sealed` holds its key, until it has finished."""

    phase: str
    certificate: bytes
    sealed: bytes = b""

    def secret(self) -> Json:
        fields = {"phase": self.phase.encode(), "certificate": self.certificate, "sealed": self.sealed}
        data = {name: b64encode(value).decode() for name, value in fields.items()}
        return {"metadata": {"name": NAME, "namespace": NAMESPACE}, "type": "tiphys.io/ca-rotation", "data": data}


def state_of(secret: Secret) -> State | None:
    """None for what this version cannot read."""
    phase = secret.data.get("phase", b"").decode(errors="replace")
    certificate = secret.data.get("certificate", b"")
    return State(phase, certificate, secret.data.get("sealed", b"")) if phase in PHASES and certificate else None


def begin(pki: Pki, cluster: str, now: float) -> State:
    """A new CA, sealed with the key of the present one."""
    key = new_key()
    certificate = pem(make_ca(f"tiphys-ca-{cluster}", key, now))
    return State(TRUST, certificate, seal({_KEY: pem(key)}, pin_of(certificate), _secret(load_key(pki.key("ca")))))


def new_issuer(pki: Pki, state: State) -> Issuer:
    """The new CA with its key, out of the files or the state. Raises ClusterError where neither has it."""
    certificate = x509.load_pem_x509_certificate(state.certificate)
    own = load_key(pki.key("ca"))
    if fits(certificate, own):
        return Issuer(certificate, own)
    try:
        files = open_sealed(state.sealed, pin_of(state.certificate), _secret(own))
    except ValueError as error:
        raise ClusterError(
            "this control plane was away while the CA was replaced, and its own CA is older than the one before: "
            "`tiphys down --purge` here, then join again with `tiphys server --join`"
        ) from error
    return Issuer(certificate, key_of(files[_KEY]))


def apply(pki: Pki, state: State) -> bool:
    """Bring the files of this machine to where the state is; whether anything had to be done. May be repeated."""
    with pki.locked():
        return _apply(pki, state)


def _apply(pki: Pki, state: State) -> bool:
    pin, before = pin_of(state.certificate), pki.ca.read_bytes()
    if pki.read("ca").not_valid_before_utc > x509.load_pem_x509_certificate(state.certificate).not_valid_before_utc:
        # The state of a rotation before the last, out of a backup.
        return False
    rest = b"".join(pem(each) for each in x509.load_pem_x509_certificates(before) if pins_of(pem(each)) != [pin])
    if state.phase == TRUST:
        wanted = rest + state.certificate
    else:
        issuer = new_issuer(pki, state)
        if not fits(issuer.certificate, load_key(pki.key("ca"))):
            # Before the certificate: until that is there, nothing is signed with a key that does not fit.
            write_private(pki.key("ca"), pem(issuer.key))
        wanted = state.certificate + (rest if state.phase == SWITCH else b"")
    if wanted != before:
        write_private(pki.ca, wanted)
        _log.info("the cluster's CA is being replaced", phase=state.phase, pin=pin[:16])
    return wanted != before


def _secret(key: Key) -> str:
    data = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return hashlib.sha256(b"tiphys ca rotation" + data).hexdigest()


class Rotation(Follower):
    """On a server: its CA's files are where the rotation is. What has changed in files, `Renewal` takes up."""

    def __init__(self, pki: Pki, client: Client, clock: Clock) -> None:
        super().__init__()
        self._pki, self._clock = pki, clock
        self._secrets = Informer(
            client, SECRETS, namespace=NAMESPACE, clock=clock, fieldSelector=f"metadata.name={NAME}"
        )

    async def run(self) -> None:
        await self.follow(self._secrets, self._clock)

    async def take(self) -> None:
        secret = self._secrets.get(ObjectKey(f"{NAMESPACE}/{NAME}"))
        state = state_of(secret) if secret is not None else None
        if state is not None:
            await asyncio.to_thread(apply, self._pki, state)
