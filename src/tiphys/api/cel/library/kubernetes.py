"""Quantities, semantic versions and named formats.

Source: upstream's `apiserver/pkg/cel/library/{quantity,semverlib,format}.go`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from tiphys.api import names, quantity
from tiphys.api.cel import costs
from tiphys.api.cel.declare import Library
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.types import Struct
from tiphys.api.cel.values import INT_MAX, INT_MIN, NONE, Opaque, Optional
from tiphys.api.formats import matches_format
from tiphys.api.quantity import Quantity

_NANO = 10**9


class Amount(Opaque):
    """A quantity as a value of the language."""

    __slots__ = ("quantity",)
    cel_type = Struct("kubernetes.Quantity")

    def __init__(self, value: Quantity) -> None:
        self.quantity = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Amount) and self.quantity == other.quantity

    def __hash__(self) -> int:
        return hash(self.quantity)


_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)


class Version(Opaque):
    """A semantic version; `key` orders it, build metadata apart."""

    __slots__ = ("key", "parts")
    cel_type = Struct("kubernetes.Semver")

    def __init__(self, text: str) -> None:
        match = _SEMVER.fullmatch(text)
        if match is None:
            elements = "No Major.Minor.Patch elements found" if text.count(".") < 2 else f'Invalid version "{text}"'
            raise EvalError(elements if text else "Version string empty")
        self.parts = tuple(int(match[group]) for group in (1, 2, 3))
        before = match[4].split(".") if match[4] else []
        # Numbers come before words, and no pre-release after every one.
        order = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in before)
        self.key = (self.parts, not before, order)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class Format(Opaque):
    """A named format: `check` gives complaints, `weight` is what upstream takes its pattern to be long."""

    __slots__ = ("check", "name", "weight")
    cel_type = Struct("kubernetes.NamedFormat")

    def __init__(self, name: str, check: Callable[[str], list[str]], weight: int) -> None:
        self.name, self.check, self.weight = name, check, weight

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


KUBERNETES = Library({
    "quantity": (Amount.cel_type, Amount), "semver": (Version.cel_type, Version), "format": (Format.cel_type, Format),
})  # fmt: skip
_add = KUBERNETES.add


def _amount(text: str) -> Amount:
    try:
        return Amount(quantity.parse(text))
    except ValueError as error:
        raise EvalError(str(error)) from None


def _succeeds(read: Callable[..., Any]) -> Callable[..., bool]:
    def check(*args: Any) -> bool:
        try:
            read(*args)
        except EvalError:
            return False
        return True

    return check


def _is_whole(amount: Amount) -> bool:
    nanos = amount.quantity.nanos
    return nanos % _NANO == 0 and INT_MIN <= nanos // _NANO <= INT_MAX


def _whole(amount: Amount) -> int:
    if not _is_whole(amount):
        raise EvalError("cannot convert value to integer")
    return amount.quantity.nanos // _NANO


def _order(one: Any, two: Any) -> int:
    return int(one > two) - int(one < two)


def _added(sign: int, amount: Amount, other: Any) -> Amount:
    term = quantity.of(other) if type(other) is int else other.quantity
    return Amount(amount.quantity + term if sign > 0 else amount.quantity - term)


def _declare_quantities() -> None:
    _add("string_to_quantity", "quantity(string) quantity", _amount, costs.traverse)
    _add("is_quantity_string", "isQuantity(string) bool", _succeeds(_amount), costs.traverse)
    _add("quantity_sign", "sign(quantity) int", lambda amount: _order(amount.quantity.nanos, 0))
    _add("quantity_is_greater_than", "quantity.isGreaterThan(quantity) bool", lambda a, b: a.quantity > b.quantity)
    _add("quantity_is_less_than", "quantity.isLessThan(quantity) bool", lambda a, b: a.quantity < b.quantity)
    _add("quantity_compare_to", "quantity.compareTo(quantity) int", lambda a, b: _order(a.quantity, b.quantity))
    _add("quantity_get_float", "quantity.asApproximateFloat() double", lambda amount: amount.quantity.nanos / _NANO)
    _add("quantity_get_int", "quantity.asInteger() int", _whole)
    _add("quantity_is_integer", "quantity.isInteger() bool", _is_whole)
    for name, sign in (("add", 1), ("sub", -1)):
        _add(f"quantity_{name}", f"quantity.{name}(quantity) quantity", partial(_added, sign))
        _add(f"quantity_{name}_int", f"quantity.{name}(int) quantity", partial(_added, sign))


def _version(text: str, normalize: bool = False) -> Version:
    if not normalize:
        return Version(text)
    parts = text.removeprefix("v").split(".", 2)
    for index, part in enumerate(parts):
        if len(part) > 1:
            stripped = part.lstrip("0")
            parts[index] = stripped if stripped[:1].isdigit() else "0" + stripped
    if len(parts) < 3:
        if any(char in parts[-1] for char in "+-"):
            raise EvalError("Short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    return Version(".".join(parts))


def _declare_versions() -> None:
    for name, run in (("semver", _version), ("isSemver", _succeeds(_version))):
        result = "semver" if name == "semver" else "bool"
        label = "to_semver" if name == "semver" else "is_semver"
        _add(f"string_{label}", f"{name}(string) {result}", run, costs.traverse)
        _add(f"string_bool_{label}", f"{name}(string, bool) {result}", run, costs.traverse)
    _add("semver_is_greater_than", "semver.isGreaterThan(semver) bool", lambda one, two: one.key > two.key)
    _add("semver_is_less_than", "semver.isLessThan(semver) bool", lambda one, two: one.key < two.key)
    _add("semver_compare_to", "semver.compareTo(semver) int", lambda one, two: _order(one.key, two.key))
    for index, name in enumerate(("major", "minor", "patch")):
        _add(f"semver_{name}", f"semver.{name}() int", lambda version, at=index: version.parts[at])


def _openapi(name: str, complaint: str) -> Callable[[str], list[str]]:
    return lambda text: [] if matches_format(name, text) else [complaint]


def _uri(text: str) -> list[str]:
    return [] if matches_format("uri", text) else [f'parse "{text}": invalid URI for request']


_FORMATS = {
    "dns1123Label": Format("DNS1123Label", names.dns1123_label, 30),
    "dns1123Subdomain": Format("DNS1123Subdomain", names.dns1123_subdomain, 60),
    "dns1035Label": Format("DNS1035Label", names.dns1035_label, 30),
    "qualifiedName": Format("QualifiedName", names.qualified_name, 60),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", partial(names.prefix, names.dns1123_label), 30),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", partial(names.prefix, names.dns1123_subdomain), 60),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", partial(names.prefix, names.dns1035_label), 30),
    "labelValue": Format("LabelValue", names.label_value, 40),
    "uri": Format("URI", _uri, 1000),
    "uuid": Format("uuid", _openapi("uuid", "does not match the UUID format"), 85),
    "byte": Format("byte", _openapi("byte", "invalid base64"), 66),
    "date": Format("date", _openapi("date", "invalid date"), 103),
    "datetime": Format("datetime", _openapi("datetime", "invalid datetime"), 103),
}


def _validate(named: Format, text: str) -> Optional:
    complaints = named.check(text)
    return Optional(complaints) if complaints else NONE


def _validation_cost(args: costs.Args, _result: Any) -> int:
    return costs.tenth(1 + len(args[1])) * int(-(-args[0].weight // 4))


def _declare_formats() -> None:
    _add("format-validate", "format.validate(string) optional(list(string))", _validate, _validation_cost)
    found = {name: Optional(each) for name, each in _FORMATS.items()}
    _add("format-named", ".format.named(string) optional(format)", lambda name: found.get(name, NONE))
    for name, each in _FORMATS.items():
        _add(f"format.{name}", f".format.{name}() format", lambda named=each: named)


_declare_quantities()
_declare_versions()
_declare_formats()
