"""Formats of OpenAPI v3 that a CustomResourceDefinition may ask of its values; unknown formats ask nothing."""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date
from typing import Any

from tiphys.api import time

_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_HOSTNAME = re.compile(r"(?=.{1,253}\.?\Z)[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62})(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62}))*\.?")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}(([:-][0-9a-fA-F]{2}){2})?")
_URI = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*:\S+|/\S*)")
_DURATION = re.compile(r"[+-]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+")


def _reads(reader: Callable[[str], Any]) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if not isinstance(value, str):
            return True
        try:
            reader(value)
        except ValueError:
            return False
        return True

    return check


def _looks(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, str) or pattern.fullmatch(value) is not None


def _whole(bits: int) -> Callable[[Any], bool]:
    bound = 1 << (bits - 1)
    return lambda value: not isinstance(value, (int, float)) or -bound <= value < bound


_FORMATS: dict[str, Callable[[Any], bool]] = {
    "int32": _whole(32),
    "int64": _whole(64),
    "byte": _reads(lambda text: binascii.a2b_base64(text, strict_mode=True)),
    "date": _reads(date.fromisoformat),
    "date-time": _reads(time.parse),
    "datetime": _reads(time.parse),
    "cidr": _reads(lambda text: ipaddress.ip_network(text, strict=False) if "/" in text else int("no mask")),
    "ipv4": _reads(ipaddress.IPv4Address),
    "ipv6": _reads(ipaddress.IPv6Address),
    "uuid": _looks(_UUID),
    "uuid3": _looks(_UUID),
    "uuid4": _looks(_UUID),
    "uuid5": _looks(_UUID),
    "hostname": _looks(_HOSTNAME),
    "email": _looks(_EMAIL),
    "mac": _looks(_MAC),
    "uri": _looks(_URI),
    "duration": _looks(_DURATION),
}


def matches_format(name: str, value: Any) -> bool:
    """Whether `value` is of the format; what the format does not speak about (another type) matches."""
    check = _FORMATS.get(name)
    return check is None or check(value)
