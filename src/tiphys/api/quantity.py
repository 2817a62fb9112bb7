"""Quantity: exact fixed-point numbers with a suffix, such as `500m`, `1.5Gi`, `12e6`.

The value is a whole number of nano-units, which is upstream's finest precision; finer digits round away from zero, and
nothing exceeds 2^63 - 1 units. The canonical form has no fraction and the largest suffix that leaves a whole number.
Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from functools import lru_cache, total_ordering

DECIMAL_SI, BINARY_SI, DECIMAL_EXPONENT = "DecimalSI", "BinarySI", "DecimalExponent"

_NANO = 10**9
_MAX = (2**63 - 1) * _NANO
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL_NAMES = {power: suffix for suffix, power in _DECIMAL.items()}
_BINARY_NAMES = {power: suffix for suffix, power in _BINARY.items()}

_SHAPE = re.compile(r"([+-]?)([0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_NUMBER = re.compile(r"(?:([0-9]+)\.?([0-9]*)|\.([0-9]+))")
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)")

WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_NUMBER = "unable to parse numeric part of quantity"
WRONG_SUFFIX = "unable to parse quantity's suffix"


@total_ordering
class Quantity:
    """An immutable amount: `nanos` is the value in nano-units, `format` the family of suffixes that it prints with."""

    __slots__ = ("format", "nanos")

    def __init__(self, nanos: int, format: str = DECIMAL_SI) -> None:
        self.nanos = nanos
        self.format = format

    def value(self) -> int:
        """Whole units, rounded away from zero."""
        return _divide(self.nanos, _NANO)

    def milli(self) -> int:
        """Thousandths, rounded away from zero: CPU's usual unit."""
        return _divide(self.nanos, 10**6)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.nanos * factor, self.format)

    def __neg__(self) -> Quantity:
        return Quantity(-self.nanos, self.format)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: Quantity) -> bool:
        return self.nanos < other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __str__(self) -> str:
        if not self.nanos:
            return "0"
        if self.format == BINARY_SI and abs(self.nanos) >= 1024 * _NANO:
            return _binary(self.value())
        return _decimal(self.nanos, exponent=self.format == DECIMAL_EXPONENT)

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"


ZERO = Quantity(0)


def of(value: int, format: str = DECIMAL_SI) -> Quantity:
    """A quantity of whole units."""
    return Quantity(value * _NANO, format)


def of_milli(value: int) -> Quantity:
    """A quantity of thousandths."""
    return Quantity(value * 10**6)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Quantity:
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise ValueError(WRONG_FORMAT)
    sign, digits, suffix = shape.groups()
    number = _NUMBER.fullmatch(digits)
    if number is None:
        raise ValueError(WRONG_NUMBER)
    whole, fraction, bare = number.groups()
    fraction = bare or fraction or ""
    mantissa = int((whole or "") + fraction)
    nanos, format_ = _scale(mantissa, len(fraction), suffix)
    nanos = min(nanos, _MAX)
    if format_ == BINARY_SI and nanos < _NANO:
        format_ = DECIMAL_SI
    return Quantity(-nanos if sign == "-" else nanos, format_)


def _scale(mantissa: int, places: int, suffix: str) -> tuple[int, str]:
    if suffix in _BINARY:
        return _divide(mantissa * 1024 ** _BINARY[suffix] * _NANO, 10**places), BINARY_SI
    format_ = DECIMAL_SI
    power = _DECIMAL.get(suffix)
    if power is None:
        exponent = _EXPONENT.fullmatch(suffix)
        if exponent is None or len(exponent[1]) > 10:
            raise ValueError(WRONG_SUFFIX)
        power, format_ = int(exponent[1]), DECIMAL_EXPONENT
    # Beyond these bounds only "more than the greatest" and "more than nothing" are left; keeps the numbers small.
    shift = max(min(power + 9 - places, 60), -len(str(mantissa)) - 1)
    return (mantissa * 10**shift if shift >= 0 else _divide(mantissa, 10**-shift)), format_


def parse(value: str | int | float) -> Quantity:
    """The quantity that a JSON string or number stands for. Raises ValueError with upstream's text; cached."""
    return _parse(value if type(value) is str else str(value))


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The canonical form of a quantity's text, as the API returns it. Raises ValueError; cached."""
    return str(_parse(text))


def _divide(number: int, divisor: int) -> int:
    """Division that rounds away from zero."""
    return -(-number // divisor) if number >= 0 else number // divisor


def _binary(value: int) -> str:
    power = 0
    while power < 6 and value % 1024 == 0:
        value //= 1024
        power += 1
    return f"{value}{_BINARY_NAMES.get(power, '')}"


def _decimal(nanos: int, *, exponent: bool) -> str:
    power = -9
    while power < 18 and nanos % 1000 == 0:
        nanos //= 1000
        power += 3
    if exponent:
        return f"{nanos}e{power}" if power else str(nanos)
    return f"{nanos}{_DECIMAL_NAMES[power]}"
