"""Encryption by passphrase of what is backed up: scrypt makes a key of it, AES-256-GCM seals one chunk after another.

Every file has a key of its own, derived from the passphrase's and a random nonce, so that the counter of its chunks
never meets the same key twice; the counter also pins their order. scrypt runs once per salt and process.
The head of the file, which is in clear, is bound to them all. Source: https://www.rfc-editor.org/rfc/rfc7914 (scrypt)
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path

import msgspec

from tiphys.main.cluster import ClusterError

# 32 MiB and about a tenth of a second for each guess.
_N, _R, _P = 2**15, 8, 1
_MOST_N, _MOST_R, _MOST_P = 2**20, 32, 16


class BackupError(ClusterError):
    """A backup cannot be made or used; the message names it and says what to do."""


class Altered(BackupError):
    """What is there is not what was written."""


class Truncated(BackupError):
    """The end is missing."""


class WrongPassphrase(BackupError):
    """It opens with another passphrase, or needs one, or needs none."""


class Sealing(msgspec.Struct, frozen=True):
    """How a file is encrypted; stands in its head. `check` tells a wrong passphrase from an altered file."""

    salt: bytes
    nonce: bytes
    n: int
    r: int
    p: int
    check: bytes


class Passphrase:
    """What a person knows; the keys made of it are kept, for scrypt is meant to be slow."""

    def __init__(self, text: bytes) -> None:
        if not text:
            raise BackupError("the passphrase is empty: put one into its file")
        self._text = text
        self._masters: dict[tuple[bytes, int, int, int], bytes] = {}
        self._salt = os.urandom(16)

    @classmethod
    def read(cls, path: Path) -> Passphrase:
        """The first line of a file that nobody else may read. Raises BackupError."""
        try:
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise BackupError(f"{path} holds a passphrase and others may read it: `chmod 600 {path}`")
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise BackupError(f"cannot read the passphrase in {path}: {error.strerror}") from error
        return cls(lines[0] if lines else b"")

    def sealing(self) -> Sealing:
        """For a new file."""
        nonce = os.urandom(32)
        key = self._key(Sealing(self._salt, nonce, _N, _R, _P, b""))
        return Sealing(self._salt, nonce, _N, _R, _P, _check(key))

    def key(self, sealing: Sealing, name: str) -> bytes:
        """Of the file `name`. Raises WrongPassphrase."""
        key = self._key(sealing)
        if not hmac.compare_digest(_check(key), sealing.check):
            raise WrongPassphrase(f"{name} does not open with this passphrase: give the one that it was made with")
        return key

    def _key(self, sealing: Sealing) -> bytes:
        cost = (sealing.n, sealing.r, sealing.p)
        master = self._masters.get((sealing.salt, *cost))
        if master is None:
            if sealing.n > _MOST_N or sealing.r > _MOST_R or sealing.p > _MOST_P:
                raise Altered("the head of the file asks for more work than any version of ours does: it was altered")
            memory = 128 * sealing.n * sealing.r * 2
            master = hashlib.scrypt(
                self._text, salt=sealing.salt, n=sealing.n, r=sealing.r, p=sealing.p, maxmem=memory, dklen=32
            )
            self._masters[(sealing.salt, *cost)] = master
        return hmac.digest(master, b"tiphys file key" + sealing.nonce, "sha256")


def _check(key: bytes) -> bytes:
    return hmac.digest(key, b"tiphys passphrase check", "sha256")[:16]


class Sealer:
    """Seals chunks, or opens them, in order; with no key it passes them through."""

    def __init__(self, key: bytes | None, name: str, head: bytes) -> None:
        self._name, self._head, self._count = name, head, 0
        self._cipher = None
        if key is not None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._cipher = AESGCM(key)

    def seal(self, chunk: bytes) -> bytes:
        return self._cipher.encrypt(self._next(), chunk, self._head) if self._cipher else chunk

    def open(self, chunk: bytes) -> bytes:
        """Raises Altered."""
        if self._cipher is None:
            return chunk
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(self._next(), chunk, self._head)
        except InvalidTag:
            raise Altered(f"{self._name} was altered: chunk {self._count} does not open") from None

    def _next(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(12, "big")


def sealer_of(sealing: Sealing | None, passphrase: Passphrase | None, name: str, head: bytes) -> Sealer:
    """What opens, or writes, a file with this sealing in its head. Raises WrongPassphrase."""
    if sealing is None:
        return Sealer(None, name, head)
    if passphrase is None:
        raise WrongPassphrase(f"{name} is encrypted: give its passphrase with --passphrase-file FILE")
    return Sealer(passphrase.key(sealing, name), name, head)
