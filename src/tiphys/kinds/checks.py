"""Checks that many kinds share; each yields upstream's field errors. Objects have passed their schema: types are right.

Source: https://kubernetes.io/docs/reference/kubernetes-api/ and upstream's `apimachinery/pkg/api/validation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tiphys.api import names
from tiphys.api.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.fields import dig

Errors = Iterator[FieldError]

NON_NEGATIVE = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"


def immutable(new: Json, old: Json | None, *paths: str) -> Errors:
    """Each dotted path must be as it was; nothing to say on create."""
    if old is None:
        return
    for path in paths:
        steps = path.split(".")
        value = dig(new, *steps)
        if value != dig(old, *steps):
            yield invalid(path, value, IMMUTABLE)


def non_negative(obj: Json, path: str, *fields: str) -> Errors:
    for field in fields:
        value = obj.get(field)
        if value is not None and value < 0:
            yield invalid(f"{path}.{field}", value, NON_NEGATIVE)


def one_of(obj: Json, path: str, field: str, allowed: Sequence[str]) -> Errors:
    """An enum that may be absent (defaulting fills what must not be)."""
    value = obj.get(field)
    if value is not None and value not in allowed:
        yield not_supported(f"{path}.{field}" if path else field, value, allowed)


def has(obj: Json, path: str, *fields: str) -> Errors:
    """Each field must be there and not be empty."""
    for field in fields:
        if obj.get(field) in (None, "", [], {}):
            yield required(f"{path}.{field}" if path else field)


def follows(value: str, path: str, rule: Callable[[str], Iterable[str]]) -> Errors:
    """`value` must satisfy a rule of `api.names`."""
    for problem in rule(value):
        yield invalid(path, value, problem)


def label_selector(selector: Json | None, path: str) -> Errors:
    """A LabelSelector: legal keys and values, operators with the values that they need."""
    if not selector:
        return
    yield from names.validate_labels(selector.get("matchLabels") or {}, f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield forbidden(f"{where}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        else:
            yield invalid(f"{where}.operator", operator, "not a valid selector operator")
        yield from follows(expression.get("key", ""), f"{where}.key", names.label_key)
        for position, value in enumerate(values):
            yield from follows(value, f"{where}.values[{position}]", names.label_value)


_HTTP_PATH_FORM = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_HTTP_PATH = re.compile(_HTTP_PATH_FORM)


def domain_prefixed_path(value: str, path: str) -> Errors:
    """A name such as `example.com/controller`."""
    host, _, tail = value.partition("/")
    if not value:
        yield required(path)
    elif not host or not tail:
        yield invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        yield from ((invalid(path, host, problem)) for problem in names.dns1123_subdomain(host))
        if _HTTP_PATH.fullmatch(tail) is None:
            yield invalid(path, tail, f"Invalid path (regex used for validation is '{_HTTP_PATH_FORM}')")


def int_or_percent(obj: Json, path: str, *fields: str) -> Errors:
    """A non-negative integer or a percentage such as "25%"."""
    for field in fields:
        value = obj.get(field)
        if isinstance(value, str):
            if not (value.endswith("%") and value[:-1].isdigit()):
                rule = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%'"
                yield invalid(f"{path}.{field}", value, f"{rule}, regex used for validation is '[0-9]+%')")
        elif value is not None and value < 0:
            yield invalid(f"{path}.{field}", value, NON_NEGATIVE)


def at_most_100_percent(obj: Json, path: str, *fields: str) -> Errors:
    for field in fields:
        value = obj.get(field)
        if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() and int(value[:-1]) > 100:
            yield invalid(f"{path}.{field}", value, "must not be greater than 100%")


def is_zero(value: Any) -> bool:
    """Whether an integer or percentage is 0; neither counts as that."""
    if isinstance(value, str):
        return not (value.endswith("%") and value[:-1].isdigit() and int(value[:-1]))
    return not value


def unique(items: Iterable[Any], path: str, field: str) -> Errors:
    """Objects of a list must differ in `field`."""
    seen: set[Any] = set()
    for index, item in enumerate(items):
        value = item.get(field)
        if value and value in seen:
            yield duplicate(f"{path}[{index}].{field}", value)
        seen.add(value)
