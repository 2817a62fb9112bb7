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
from tiphys.base.backoff import Backoff
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.client.client import Client
from tiphys.client.informer import Informer
from tiphys.kinds.core.configmap import CONFIG_MAPS, ConfigMap
from tiphys.kinds.core.secret import SECRETS, Secret
from tiphys.main.cluster import ClusterError, write_private
from tiphys.main.discovery import bundle_of
from tiphys.main.leaf import Issuer, Key, fits, key_of, make_ca, new_key, pem, pin_of, pins_of
from tiphys.main.pki import Pki, load_key
from tiphys.server.control_plane_bundle import open_sealed, seal

_log = Log("certificates")
NAME, NAMESPACE = "tiphys-ca-rotation", "kube-system"
TRUST, SWITCH, FINISH = PHASES = ("trust", "switch", "finish")
_CERTIFICATE, _KEY = "ca.crt", "ca.key"
_BACKOFF = Backoff(1.0, 300.0)


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
    pin, before = pin_of(state.certificate), pki.ca.read_bytes()
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


class _Follower:
    """Something on this machine that follows one object; run `run` under a supervisor."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def _seen(self, old: object, new: object) -> None:
        self._changed.set()

    async def _follow(self, informer: Informer[Secret] | Informer[ConfigMap], clock: Clock) -> None:
        informer.add_handler(self._seen)
        async with asyncio.TaskGroup() as group:
            group.create_task(informer.run())
            failures = 0
            while True:
                await self._changed.wait()
                self._changed.clear()
                try:
                    await self._take()
                    failures = 0
                except (ClusterError, OSError) as error:
                    _log.error("cannot follow the cluster's CA", error=error)
                    await clock.sleep(_BACKOFF.delay(failures))
                    failures += 1
                    self._changed.set()

    async def _take(self) -> None:
        raise NotImplementedError


class Rotation(_Follower):
    """On a server: its CA's files are where the rotation is. What has changed in files, `Renewal` takes up."""

    def __init__(self, pki: Pki, client: Client, clock: Clock) -> None:
        super().__init__()
        self._pki, self._clock = pki, clock
        self._secrets = Informer(
            client, SECRETS, namespace=NAMESPACE, clock=clock, fieldSelector=f"metadata.name={NAME}"
        )

    async def run(self) -> None:
        await self._follow(self._secrets, self._clock)

    async def _take(self) -> None:
        secret = self._secrets.get(ObjectKey(f"{NAMESPACE}/{NAME}"))
        state = state_of(secret) if secret is not None else None
        if state is not None:
            await asyncio.to_thread(apply, self._pki, state)


class TrustedBundle(_Follower):
    """On a node elsewhere: the CAs that it trusts are those that the cluster publishes in `cluster-info`."""

    def __init__(self, pki: Pki, client: Client, clock: Clock) -> None:
        super().__init__()
        self._pki, self._clock = pki, clock
        self._maps = Informer(
            client, CONFIG_MAPS, namespace="kube-public", clock=clock, fieldSelector="metadata.name=cluster-info"
        )

    async def run(self) -> None:
        await self._follow(self._maps, self._clock)

    async def _take(self) -> None:
        found = self._maps.get(ObjectKey("kube-public/cluster-info"))
        if found is None:
            return
        try:
            bundle = bundle_of(found.data.get("kubeconfig", ""))
            pins = set(pins_of(bundle))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            _log.error("cluster-info cannot be read; the CAs trusted stay as they are", error=error)
            return
        before = await asyncio.to_thread(self._pki.ca.read_bytes)
        if bundle == before:
            return
        if not pins & set(pins_of(before)):
            # Whoever replaces a CA has both trusted for a while; this is something else.
            _log.error("cluster-info holds none of the CAs that are trusted here; they stay as they are")
            return
        await asyncio.to_thread(write_private, self._pki.ca, bundle)
        _log.info("CAs that are trusted have changed", pins=",".join(pin[:16] for pin in pins))
