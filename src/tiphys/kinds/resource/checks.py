"""Checks that the kinds of dynamic resources share. Source: upstream's `pkg/apis/resource/validation`."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tiphys.api import names
from tiphys.api.errors import duplicate, invalid, not_supported, required, too_long, too_many
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows
from tiphys.kinds.core.volume_sources import check_driver_name

if TYPE_CHECKING:
    from tiphys.api.cel.environment import Environment

_MAX_POOL, _MAX_ID = 253, 32
MAX_SELECTORS, _MAX_EXPRESSION, _MAX_PARAMETERS = 32, 10 * 1024, 10 * 1024
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IDENTIFIER_RULE = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
    "characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is "
    "'[A-Za-z_][A-Za-z0-9_]*')"
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
EFFECTS = ("NoExecute", "NoSchedule", "None")


def check_list(items: Sequence[Any], most: int, path: str, check: Callable[[Any, str], Errors]) -> Errors:
    """Each item, unless there are too many."""
    if len(items) > most:
        yield too_many(path, len(items), most)
        return
    for index, item in enumerate(items):
        yield from check(item, f"{path}[{index}]")


def check_set(
    items: Sequence[Any], most: int, path: str, check: Callable[[Any, str], Errors], key: Callable[[Any], Hashable]
) -> Errors:
    """Each item, and that no two are of one key, unless there are too many."""
    yield from check_list(items, most, path, check)
    seen: set[Hashable] = set()
    for index, item in enumerate(items if len(items) <= most else ()):
        found = key(item)
        if found in seen:
            yield duplicate(f"{path}[{index}]", found)
        seen.add(found)


def named(item: Json) -> str:
    return str(item.get("name") or "")


def check_pool_name(name: str, path: str) -> Errors:
    if not name:
        yield required(path)
        return
    if len(name) > _MAX_POOL:
        yield too_long(path, _MAX_POOL)
    for part in name.split("/"):
        yield from follows(part, path, names.dns1123_subdomain)


def check_share(uid: str, path: str) -> Errors:
    if _UUID.fullmatch(uid) is None:
        form = "`xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters"
        yield invalid(path, uid, f"uid must be in RFC 4122 normalized form, {form}")


def check_qualified(name: str, path: str) -> Errors:
    """An attribute's or a capacity's name, perhaps with a domain."""
    domain, slash, rest = name.partition("/")
    if not slash:
        yield from _check_identifier(name, path)
        return
    if "/" in rest:
        return  # as upstream, which looks at two parts only
    if not domain:
        yield invalid(path, "", "the domain must not be empty")
    else:
        yield from check_driver_name(domain, path)
    if not rest:
        yield invalid(path, "", "the name must not be empty")
    else:
        yield from _check_identifier(rest, path)


def check_fully_qualified(name: str, path: str) -> Errors:
    yield from check_qualified(name, path)
    if "/" not in name:
        yield invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash")


def _check_identifier(name: str, path: str) -> Errors:
    if len(name) > _MAX_ID:
        yield too_long(path, _MAX_ID)
    if _IDENTIFIER.fullmatch(name) is None:
        yield invalid(path, name, _IDENTIFIER_RULE)


def check_selector(selector: Json, path: str) -> Errors:
    cel = selector.get("cel")
    if cel is None:
        yield required(f"{path}.cel")
        return
    where, expression = f"{path}.cel.expression", cel.get("expression") or ""
    if len(expression.encode()) > _MAX_EXPRESSION:
        yield too_long(where, _MAX_EXPRESSION)
        return
    from tiphys.api.cel.errors import CompileError  # few requests are about devices

    try:
        found = _devices().compile(expression).type
    except CompileError as error:
        yield invalid(where, expression, str(error))
        return
    if str(found) not in ("bool", "dyn"):
        yield invalid(where, expression, f"must evaluate to bool or the unknown type, not {found}")


@cache
def _devices() -> Environment:
    """What an expression sees of a device; of which type its attributes are, only the device knows."""
    from tiphys.api.cel import types
    from tiphys.api.cel.kubernetes import environment

    return environment({"device": types.DYN})


def check_configuration(config: Json, path: str) -> Errors:
    opaque = config.get("opaque")
    if opaque is None:
        yield required(f"{path}.opaque")
        return
    yield from check_driver_name(opaque.get("driver") or "", f"{path}.opaque.driver")
    yield from check_object(opaque.get("parameters"), f"{path}.opaque.parameters")


def check_object(value: Any, path: str) -> Errors:
    """Something of a driver's own; the limit is of its text."""
    if value is None:
        yield required(path)
    elif len(str(value)) > _MAX_PARAMETERS:
        yield too_long(path, _MAX_PARAMETERS)
    elif not isinstance(value, dict):
        yield invalid(path, "<value omitted>", "must be a valid JSON object")


def check_taint(taint: Json, path: str) -> Errors:
    yield from follows(taint.get("key") or "", f"{path}.key", names.label_key)
    if taint.get("value"):
        yield from follows(taint["value"], f"{path}.value", names.label_value)
    effect = taint.get("effect") or ""
    if not effect:
        yield required(f"{path}.effect")
    elif effect not in EFFECTS:
        yield not_supported(f"{path}.effect", effect, EFFECTS)


def check_binding(conditions: list[str], failures: list[str], path: str) -> Errors:
    """The conditions that a device waits for, and those that end the wait."""
    for field, values in (("bindingConditions", conditions), ("bindingFailureConditions", failures)):
        yield from check_list(values, 4, f"{path}.{field}", _check_label)
    for index, condition in enumerate(conditions):
        if condition in conditions[:index]:
            yield duplicate(f"{path}.bindingConditions[{index}]", condition)
    for index, condition in enumerate(failures):
        where = f"{path}.bindingFailureConditions[{index}]"
        if condition in failures[:index]:
            yield duplicate(where, condition)
        if condition in conditions:
            yield invalid(where, condition, "bindingFailureConditions must not overlap with bindingConditions")
    if failures and not conditions:
        rule = "bindingConditions are required to use bindingFailureConditions"
        yield invalid(f"{path}.bindingConditions", None, rule)
    if conditions and not failures:
        rule = "bindingFailureConditions are required to use bindingConditions"
        yield invalid(f"{path}.bindingFailureConditions", None, rule)


def _check_label(value: str, path: str) -> Errors:
    yield from follows(value, path, names.label_key)
