"""TLS contexts that follow files: every connection shows and trusts what they held when it was last asked to reload.

A context of Python's can learn of another certificate, but not forget a CA; so each connection is made by a context
inside, which a reload replaces. Libraries that are given the outer one know nothing of it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakSet

_all: WeakSet[FileContext] = WeakSet()


class FileContext(ssl.SSLContext):
    """`directory` is where the files are that `make` reads; `name` says what for. Raises what `make` raises."""

    # The base class takes the protocol when it is made, and nothing else.
    def __new__(cls, protocol: int, directory: Path, name: str, make: Callable[[], ssl.SSLContext]) -> FileContext:
        return super().__new__(cls, protocol)

    def __init__(self, protocol: int, directory: Path, name: str, make: Callable[[], ssl.SSLContext]) -> None:
        self.directory, self.name, self._make = directory, name, make
        self._protocols: list[str] = []
        self._inside = make()
        # For those who look at it before they use it.
        self.check_hostname = False
        self.verify_mode = self._inside.verify_mode
        self.check_hostname = self._inside.check_hostname
        _all.add(self)

    def reload(self) -> None:
        """Raises what `make` raises, and stays as it was then."""
        made = self._make()
        if self._protocols:
            made.set_alpn_protocols(self._protocols)
        self._inside = made

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        self._protocols = list(alpn_protocols)
        self._inside.set_alpn_protocols(self._protocols)

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        return self._inside.wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        return self._inside.wrap_socket(*arguments, **options)


def reload(directory: Path) -> list[str]:
    """Reload every context of this process over files of a directory; the names of those that could not be."""
    failed = []
    for context in list(_all):
        if context.directory == directory:
            try:
                context.reload()
            except (OSError, ssl.SSLError):
                failed.append(context.name)
    return failed
