"""What of a file cannot be honoured, and what is honoured differently, all of it at once.

A path is as in `services.web.deploy.mode`. `Refused` carries every error; nothing may be created after one.
"""

from __future__ import annotations

from collections.abc import Callable


class Refused(Exception):
    """`errors` are complete lines for the user: FILE: PATH: what is wrong; use this instead."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Problems:
    """Collects. `file_of` gives the file that a path comes from."""

    def __init__(self, file_of: Callable[[str], str]) -> None:
        self._file_of = file_of
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def refuse(self, path: str, why: str, use: str = "") -> None:
        self._add(self.errors, path, f"{why}; use {use}" if use else why)

    def warn(self, path: str, text: str) -> None:
        self._add(self.warnings, path, text)

    def raise_all(self) -> None:
        """Raises Refused if anything cannot be honoured."""
        if self.errors:
            raise Refused(self.errors)

    def _add(self, lines: list[str], path: str, text: str) -> None:
        line = f"{self._file_of(path)}: {path}: {text}"
        if line not in lines:
            lines.append(line)
