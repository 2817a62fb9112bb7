"""The cluster's own PKI: CAs, certificates for servers and clients, the key of service-account tokens.

Private keys are readable by root only. A certificate is renewed under the key that it had, so that the two files of
which it consists fit at every moment. A CA's file may hold several certificates: the one that signs first, then others
that are trusted besides, as while one CA takes over from another.
Source, for names and groups: https://kubernetes.io/docs/setup/best-practices/certificates/
"""

from __future__ import annotations

import fcntl
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509

from tiphys.main.cluster import write_private
from tiphys.main.leaf import (
    Issuer,
    Key,
    Leaf,
    Leaves,
    fits,
    is_authority,
    key_of,
    leaf_of,
    made_by,
    make_ca,
    make_leaf,
    new_key,
    pem,
    pin_of,
    renewal_time,
)
from tiphys.main.tls import FileContext, reload

__all__ = ["FRONT_PROXY", "Leaf", "Leaves", "Pki", "load_key", "pin_of"]
# What the names of CAs end with.
_CA = "ca"
# The name by which the API server passes requests on, and of the files of its certificate.
FRONT_PROXY = "front-proxy-client"


class Pki:
    """The files under one directory: `ca.crt`, `ca.key`, NAME.crt, NAME.key, `sa.key`; `front-proxy-*` likewise."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def front_proxy_ca(self) -> Path:
        """The CA of one certificate, the front proxy's: extension API servers believe whoever shows it."""
        return self.directory / "front-proxy-ca.crt"

    def certificate(self, name: str) -> Path:
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.directory / f"{name}.key"

    def read(self, name: str) -> x509.Certificate:
        """The certificate of this name, of a CA that which signs. Raises FileNotFoundError, ValueError."""
        return x509.load_pem_x509_certificate(self.certificate(name).read_bytes())

    def certificates(self, ending: str = "") -> Iterator[tuple[str, x509.Certificate]]:
        """Every certificate that can be read, with its name, which may have to end somehow, in order of names."""
        for path in sorted(self.directory.glob(f"*{ending}.crt")):
            try:
                yield path.stem, self.read(path.stem)
            except (FileNotFoundError, ValueError):
                continue

    def issuers(self) -> dict[str, Issuer]:
        """The CAs by name whose keys are on this machine."""
        found = {}
        for name, certificate in self.certificates(_CA):
            if is_authority(certificate) and self.key(name).exists():
                key = load_key(self.key(name))
                if fits(certificate, key):
                    found[name] = Issuer(certificate, key)
        return found

    def family(self, certificate: x509.Certificate) -> tuple[str, bool]:
        """The name of the CA that made a certificate, "" for none of ours, and whether that one still signs."""
        for name, authority in self.certificates(_CA):
            if is_authority(authority):
                bundle = x509.load_pem_x509_certificates(self.certificate(name).read_bytes())
                if any(made_by(certificate, each) for each in bundle):
                    return name, made_by(certificate, authority)
        return "", False

    def shared(self) -> dict[str, bytes]:
        """The files that every control plane of a cluster has the same: the CAs with their keys, the tokens' key."""
        names = [f"{name}.{end}" for name in self.issuers() for end in ("crt", "key")]
        return {name: (self.directory / name).read_bytes() for name in [*names, "sa.key"]}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One writer at a time: several servers of a cluster on one machine share its files. Blocks."""
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    def ensure(self, cluster: str, leaves: Leaves, others: Mapping[str, Leaves] | None = None) -> None:
        """Make what is missing: the CA, the token key and a certificate for each leaf; `others` are of CAs by name.

        A certificate is made again that says something else, that another CA signed, or that is due for renewal.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.locked():
            self._ensure(cluster, leaves, others or {})

    def _ensure(self, cluster: str, leaves: Leaves, others: Mapping[str, Leaves]) -> None:
        front_proxy = {FRONT_PROXY: Leaf(FRONT_PROXY)}
        for ca, wanted in {"ca": leaves, "front-proxy-ca": front_proxy, **others}.items():
            if not self.certificate(ca).exists():
                self._make_ca(cluster, ca)
            authority, issuer = self.read(ca), None
            for name, leaf in wanted.items():
                if not self._good(name, leaf, authority):
                    issuer = issuer or Issuer(authority, load_key(self.key(ca)))
                    self.issue(name, leaf, issuer)
        if not self.key("sa").exists():
            write_private(self.key("sa"), pem(new_key()))

    def _good(self, name: str, leaf: Leaf, authority: x509.Certificate) -> bool:
        try:
            found, key = self.read(name), load_key(self.key(name))
        except (FileNotFoundError, ValueError):
            return False
        current = fits(found, key) and made_by(found, authority) and leaf.same(leaf_of(found))
        return current and time.time() < renewal_time(found)

    def issue(self, name: str, leaf: Leaf, issuer: Issuer, now: float | None = None) -> None:
        """Make a certificate for the key of this name, or for a new key where there is none."""
        made = make_leaf(leaf, self.own_key(name), issuer, time.time() if now is None else now)
        write_private(self.certificate(name), pem(made))

    def own_key(self, name: str) -> Key:
        """The key of this name, made now if there is none that can be read."""
        try:
            return load_key(self.key(name))
        except (FileNotFoundError, ValueError):
            key = new_key()
            write_private(self.key(name), pem(key))
            return key

    def _make_ca(self, cluster: str, called: str) -> None:
        key = new_key()
        write_private(self.key(called), pem(key))
        write_private(self.certificate(called), pem(make_ca(f"tiphys-{called}-{cluster}", key, time.time())))

    def server_tls(self, name: str) -> ssl.SSLContext:
        """The context of a server that shows NAME and takes client certificates of this CA, but needs none."""

        def make() -> ssl.SSLContext:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate(name), self.key(name))
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_OPTIONAL
            return context

        return FileContext(ssl.PROTOCOL_TLS_SERVER, self.directory, name, make)

    def client_tls(self, name: str, ca: str = "ca") -> ssl.SSLContext:
        """The context of a client that shows NAME and trusts servers of a CA."""

        def make() -> ssl.SSLContext:
            context = ssl.create_default_context(cafile=os.fspath(self.certificate(ca)))
            context.load_cert_chain(self.certificate(name), self.key(name))
            return context

        return FileContext(ssl.PROTOCOL_TLS_CLIENT, self.directory, name, make)

    def reload(self) -> list[str]:
        """Let new connections of this process show and trust what the files hold by now.

        The names of those certificates that could not be read, whose last ones are still shown.
        """
        return reload(self.directory)


def load_key(path: Path) -> Key:
    return key_of(path.read_bytes(), path)
