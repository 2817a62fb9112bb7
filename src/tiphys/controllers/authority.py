"""The cluster's CA as controllers know it: what clients trust, and what certificates are signed with.

It may be replaced while they run, one CA by the next, with both trusted for a while; who keeps copies is told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from weakref import WeakMethod

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key


class Authority:
    """`bundle` is PEM, the CA that signs first and then others that are trusted; without `key` nothing is signed.

    `reserved` are the names and addresses of API servers, which no other server may have in its certificate.
    """

    def __init__(self, bundle: str, key: bytes = b"", reserved: Collection[str] = ()) -> None:
        self.bundle, self._key, self.reserved = bundle, key, frozenset(reserved)
        self._handlers: list[WeakMethod[Callable[[], None]]] = []

    def on_change(self, handler: Callable[[], None]) -> None:
        """Call a method after every change, for as long as its object lives."""
        self._handlers.append(WeakMethod(handler))

    def replace(self, bundle: str, key: bytes, reserved: Collection[str]) -> None:
        self.bundle, self._key, self.reserved = bundle, key, frozenset(reserved)
        for name in ("certificate", "key"):
            self.__dict__.pop(name, None)
        self._handlers = [reference for reference in self._handlers if reference() is not None]
        for reference in self._handlers:
            handler = reference()
            if handler is not None:
                handler()

    @property
    def signs(self) -> bool:
        return bool(self._key)

    @cached_property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.bundle.encode())

    @cached_property
    def key(self) -> EllipticCurvePrivateKey:
        key = load_pem_private_key(self._key, None)
        if not isinstance(key, EllipticCurvePrivateKey):
            raise TypeError(f"the CA's key is a {type(key).__name__}; an ECDSA key is needed")
        return key
