"""Formats of OpenAPI v3 that a CustomResourceDefinition may ask of its values; unknown formats ask nothing.

A format's name counts without its dashes, and each belongs to a type: strings, integers or numbers.
Source: upstream's `apiextensions-apiserver/pkg/apiserver/validation/formats.go` and kube-openapi's `strfmt`.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from tiphys.api import names, time
from tiphys.api import schema as s

_HEX = "[0-9a-fA-F]"


def _uuid(version: str) -> re.Pattern[str]:
    """A UUID of a version: the version is a digit of its own, and of 4 and 5 so is the variant."""
    third = f"{version}{_HEX}{{3}}" if version else f"{_HEX}{{4}}"
    fourth = f"[89abAB]{_HEX}{{3}}" if version in ("4", "5") else f"{_HEX}{{4}}"
    return re.compile(f"{_HEX}{{8}}-?{_HEX}{{4}}-?{third}-?{fourth}-?{_HEX}{{12}}")


_HOSTNAME = re.compile(r"(?=.{1,255}\Z)[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62}))*\.?")
_EMAIL = re.compile(r"([^<>]*<)?[^@\s<>]+@[^@\s<>]+>?")
_MAC = re.compile(rf"{_HEX}{{2}}([:-]{_HEX}{{2}}){{5}}(([:-]{_HEX}{{2}}){{2}})?|({_HEX}{{4}}\.){{2,3}}{_HEX}{{4}}")
_DURATION = re.compile(r"[+-]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+")
_SCALA = re.compile(
    r"[0-9]+ *(ns|us|ms|s|m|h|d|w|nanos?|nanoseconds?|micros?|microseconds?|millis?|milliseconds?|secs?|seconds?|mins?|"
    r"minutes?|hrs?|hours?|days?|weeks?|wks?)( *[0-9]+ *[a-z]+)*"
)
_CARD = re.compile(
    r"(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|"
    r"3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})"
)
_BYTE_COLOUR = r"(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])"


def _reads(reader: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            reader(value)
        except ValueError:
            return False
        return True

    return check


def _looks(pattern: re.Pattern[str] | str) -> Callable[[str], bool]:
    compiled = re.compile(pattern) if isinstance(pattern, str) else pattern
    return lambda value: compiled.fullmatch(value) is not None


def _network(text: str) -> None:
    _, slash, bits = text.partition("/")
    if not slash or not bits.isdecimal():
        raise ValueError("no mask")
    ipaddress.ip_network(text, strict=False)


def _is_uri(text: str) -> bool:
    """As Go's ParseRequestURI has it: absolute, or a path from the root."""
    if not text or any(ord(char) < 0x21 or ord(char) == 0x7F for char in text):
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _is_isbn10(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"[0-9]{9}[0-9X]", digits):
        return False
    return sum((10 - at) * (10 if char == "X" else int(char)) for at, char in enumerate(digits)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch(r"[0-9]{13}", digits):
        return False
    return sum(int(char) * (3 if at % 2 else 1) for at, char in enumerate(digits)) % 10 == 0


def _is_card(text: str) -> bool:
    digits = re.sub(r"[^0-9]+", "", text)
    if not _CARD.fullmatch(digits):
        return False
    doubled = [int(char) * (2 if at % 2 else 1) for at, char in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


STRINGS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _looks(f"{_HEX}{{24}}"),
    "byte": _reads(lambda text: binascii.a2b_base64(text, strict_mode=True) if text else int("empty")),
    "cidr": _reads(_network),
    "creditcard": _is_card,
    "date": _reads(lambda text: date.fromisoformat(text) if len(text) == 10 else int("short")),
    "datetime": _reads(time.parse),
    "duration": lambda text: _DURATION.fullmatch(text) is not None or _SCALA.fullmatch(text) is not None,
    "email": _looks(_EMAIL),
    "hexcolor": _looks(r"#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "hostname": _looks(_HOSTNAME),
    "ipv4": _reads(ipaddress.IPv4Address),
    "ipv6": _reads(ipaddress.IPv6Address),
    "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "k8slongname": lambda text: not names.dns1123_subdomain(text),
    "k8sshortname": lambda text: not names.dns1123_label(text),
    "mac": _looks(_MAC),
    "password": lambda text: True,
    "rgbcolor": _looks(rf"rgb\(\s*{_BYTE_COLOUR}\s*,\s*{_BYTE_COLOUR}\s*,\s*{_BYTE_COLOUR}\s*\)"),
    "ssn": _looks(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "uri": _is_uri,
    "uuid": _looks(_uuid("")),
    "uuid3": _looks(_uuid("3")),
    "uuid4": _looks(_uuid("4")),
    "uuid5": _looks(_uuid("5")),
}
_BITS = {"int32": 32, "int64": 64}
_MAX_FLOAT = 3.4028234663852886e38
_BY_TYPE = {"integer": frozenset(_BITS), "number": frozenset(("float", "double"))}


def is_known(name: str, kind: str) -> bool:
    """Whether the format says anything of values of the OpenAPI type `kind` ("" for any)."""
    if kind in ("", "string"):
        return name.replace("-", "") in STRINGS
    return name in _BY_TYPE.get(kind, ())


def matches_format(name: str, value: Any, code: int = s.STRING) -> bool:
    """Whether `value`, of a node of type `code`, is of the format; what the format does not speak about matches."""
    if type(value) is str:
        check = STRINGS.get(name.replace("-", "")) if code in (s.STRING, s.ANY) else None
        return check is None or check(value)
    if type(value) not in (int, float):
        return True
    if code == s.NUMBER:
        return name != "float" or abs(value) <= _MAX_FLOAT
    bits = _BITS.get(name) if code == s.INTEGER else None
    if bits is None:
        return True
    bound = 1 << (bits - 1)
    return bool(-bound <= value < bound)
