"""Progress of long work: coloured marks on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time


class Progress:
    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._colour = sys.stderr.isatty()

    def step(self, text: str) -> None:
        self._line("36", "•", text)

    def done(self, text: str) -> None:
        self._line("32", "✓", f"{text} ({time.monotonic() - self._begun:.1f} s)")

    def fail(self, text: str) -> None:
        self._line("31", "✗", text)

    def _line(self, colour: str, mark: str, text: str) -> None:
        shown = f"\033[{colour}m{mark}\033[0m" if self._colour else mark
        print(f"{shown} {text}", file=sys.stderr, flush=True)
