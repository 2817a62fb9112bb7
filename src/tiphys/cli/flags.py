"""Flags as pflag reads them: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-it`, anywhere before `--`.

A verb declares its flags in a table of lines, each `NAME[,SHORT] KIND[=DEFAULT]  text`. Kinds: `str`, `int`, `bool`,
`list` (comma-separated, may repeat), `array` (may repeat), `time` (a Go duration, in seconds), `opt:VALUE` (a string
whose value may be left out and is then VALUE). The table is read only for the verb that runs, and for its help.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tiphys.cli.errors import UsageError


class Flag:
    __slots__ = ("bare", "default", "kind", "name", "short", "text")

    def __init__(self, name: str, short: str, kind: str, text: str) -> None:
        self.name, self.short, self.text = name, short, text
        kind, _, default = kind.partition("=")
        # `bare` is the value that a flag without one stands for; "" means that it needs one.
        self.kind, _, self.bare = kind.partition(":")
        if self.kind == "bool":
            self.bare = "true"
        self.default: Any = [] if self.kind in ("list", "array") else ""
        if default or self.kind in ("bool", "int", "time"):
            self.default = self.read(default or {"bool": "false", "int": "0", "time": "0"}[self.kind])

    def read(self, value: str) -> Any:
        """The value of one mention. Raises UsageError as pflag words it."""
        try:
            return _READERS[self.kind](value)
        except ValueError as error:
            short = f"-{self.short}, " if self.short else ""
            raise UsageError(f'invalid argument "{value}" for "{short}--{self.name}" flag: {error}') from None


def duration(text: str) -> float:
    """A Go duration ("1h30m", "10s", "0"; a bare number of seconds too) in seconds. Raises ValueError."""
    if re.fullmatch(r"-?\d+", text):
        return float(text)
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)", rest)
    if not parts or "".join(map("".join, parts)) != rest:
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def _boolean(text: str) -> bool:
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def _integer(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _split(text: str) -> list[str]:
    if '"' in text:
        import csv

        return next(csv.reader([text]), [])
    return text.split(",") if text else []


_READERS: dict[str, Any] = {
    "str": str, "opt": str, "bool": _boolean, "int": _integer, "time": duration, "list": _split,
    "array": lambda text: [text],
}  # fmt: skip


class Options(dict[str, Any]):
    """Values by flag name, defaults filled in. `given` are the names that were on the command line."""

    def __init__(self, flags: Iterable[Flag]) -> None:
        super().__init__({flag.name: flag.default for flag in flags})
        self.given: set[str] = set()


def table(text: str) -> Iterator[Flag]:
    """The flags that a table of lines declares."""
    for line in text.splitlines():
        if line.strip():
            name, kind, words = [*line.strip().split(None, 2), ""][:3]
            name, _, short = name.partition(",")
            yield Flag(name, short, kind, words)


class Parsed:
    """`args` are the words that are no flags; `dash` is how many of them came before `--`, -1 without one."""

    __slots__ = ("args", "dash", "options")

    def __init__(self, options: Options) -> None:
        self.options = options
        self.args: list[str] = []
        self.dash = -1


def parse(words: list[str], flags: Iterable[Flag], *, lenient: bool = False) -> Parsed:
    """Read a command line. `lenient` steps over unknown flags, for finding the verb. Raises UsageError."""
    known = list(flags)
    by_name = {flag.name: flag for flag in known} | {f"-{flag.short}": flag for flag in known if flag.short}
    parsed = Parsed(Options(known))
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        if word == "--":
            parsed.dash = len(parsed.args)
            parsed.args += reversed(rest)
            break
        if word.startswith("--"):
            _long(word[2:], rest, by_name, parsed.options, lenient)
        elif word.startswith("-") and word != "-":
            _short(word[1:], rest, by_name, parsed.options, lenient)
        else:
            parsed.args.append(word)
    return parsed


def _long(word: str, rest: list[str], known: dict[str, Flag], options: Options, lenient: bool) -> None:
    name, equals, value = word.partition("=")
    flag = known.get(name)
    if flag is None:
        if lenient:
            return
        if name == "help":
            raise HelpAsked
        raise UsageError(f"unknown flag: --{name}")
    if not equals:
        if flag.bare:
            value = flag.bare
        elif rest:
            value = rest.pop()
        else:
            raise UsageError(f"flag needs an argument: --{name}")
    _store(options, flag, value)


def _short(word: str, rest: list[str], known: dict[str, Flag], options: Options, lenient: bool) -> None:
    at = 0
    while at < len(word):
        letter = word[at]
        at += 1
        flag = known.get(f"-{letter}")
        if flag is None:
            if lenient:
                return
            if letter == "h":
                raise HelpAsked
            raise UsageError(f"unknown shorthand flag: '{letter}' in -{word}")
        if word[at : at + 1] == "=":
            return _store(options, flag, word[at + 1 :])
        if flag.bare:
            _store(options, flag, flag.bare)
            continue
        if at == len(word) and not rest:
            raise UsageError(f"flag needs an argument: '{letter}' in -{word}")
        return _store(options, flag, word[at:] or rest.pop())


def _store(options: Options, flag: Flag, value: str) -> None:
    read = flag.read(value)
    if flag.kind in ("list", "array"):
        read = [*(options[flag.name] if flag.name in options.given else []), *read]
    options[flag.name] = read
    options.given.add(flag.name)


class HelpAsked(Exception):
    """`--help` or `-h` was among the words."""
