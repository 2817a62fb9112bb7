"""Closures that reach for data: variables, fields, entries, and the literals that gather them again."""

from __future__ import annotations

from typing import Any

from tiphys.api.cel.calls import Frame, Run
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.values import NONE as ABSENT
from tiphys.api.cel.values import Optional, contains, key, type_of

# What lies in a frame for a variable that has no value.
MISSING: Any = object()


def charged(run: Run, units: int) -> Run:
    def charged(frame: Frame) -> Any:
        frame[0] += units
        return run(frame)

    return charged


def look_up(value: Run, constants: frozenset[Any], kind: type) -> Run:
    def look(frame: Frame) -> Any:
        found = value(frame)
        if type(found) is kind:
            return found in constants
        return contains(list(constants), found)

    return look


def variable(slot: int, name: str) -> Run:
    def variable(frame: Frame) -> Any:
        frame[0] += 1
        value = frame[slot]
        if value is MISSING:
            raise EvalError(f"no such attribute(s): {name}")
        return value

    return variable


def local(slot: int) -> Run:
    def local(frame: Frame) -> Any:
        frame[0] += 1
        return frame[slot]

    return local


def selection(operand: Run, name: str) -> Run:
    def select(frame: Frame) -> Any:
        value = operand(frame)
        frame[0] += 1
        try:
            return value[name]
        except KeyError:
            raise EvalError(f"no such key: {name}") from None
        except (TypeError, IndexError):
            return _odd_selection(value, name)

    return select


def field(operand: Run, name: str) -> Run:
    """A declared field: null means that it is not there."""

    def select(frame: Frame) -> Any:
        value = operand(frame)
        frame[0] += 1
        try:
            found = value[name]
        except KeyError:
            raise EvalError(f"no such key: {name}") from None
        except (TypeError, IndexError):
            return _odd_selection(value, name)
        if found is None:
            raise EvalError(f"no such key: {name}")
        return found

    return select


def test_field(operand: Run, name: str) -> Run:
    def test(frame: Frame) -> Any:
        value = operand(frame)
        if type(value) is Optional:
            value = value.value
        return isinstance(value, dict) and value.get(name) is not None

    return test


def _odd_selection(value: Any, name: str) -> Any:
    """Selection from what is no map: optionals select inside themselves."""
    if type(value) is Optional:
        if not value.present:
            return ABSENT
        if not isinstance(value.value, dict):
            raise EvalError(f"no such key: {name}")
        return Optional(value.value[name]) if name in value.value else ABSENT
    if isinstance(value, list):
        raise EvalError("unsupported index type 'string' in list")
    raise EvalError(f"no such key: {name}")


def test(operand: Run, name: str) -> Run:
    def test(frame: Frame) -> Any:
        value = operand(frame)
        if type(value) is Optional:
            value = value.value
        return isinstance(value, dict) and name in value

    return test


def optional_selection(operand: Run, name: str, *, declared: bool) -> Run:
    def select(frame: Frame) -> Any:
        value = operand(frame)
        if type(value) is Optional:
            value = value.value
        if isinstance(value, dict) and name in value and not (declared and value[name] is None):
            frame[0] += 1
            return Optional(value[name])
        return ABSENT

    return select


def optional_list(elements: list[Run], optional: frozenset[int]) -> Run:
    def make(frame: Frame) -> Any:
        found = []
        for index, run in enumerate(elements):
            value = run(frame)
            if index in optional:
                if type(value) is not Optional:
                    raise EvalError(f"cannot initialize optional list element from non-optional value {value}")
                if not value.present:
                    continue
                value = value.value
            found.append(value)
        frame[0] += 10
        return found

    return make


def map_maker(entries: list[tuple[Run, Run, bool]]) -> Run:
    def make(frame: Frame) -> Any:
        found: dict[Any, Any] = {}
        for key_run, value_run, optional in entries:
            name = key(key_run(frame))
            value = value_run(frame)
            if optional:
                if type(value) is not Optional:
                    raise EvalError(f"cannot initialize optional entry '{name}' from non-optional {type_of(value)}")
                if not value.present:
                    found.pop(name, None)
                    continue
                value = value.value
            if name in found:
                raise EvalError(f"Failed with repeated key: {name}")
            found[name] = value
        frame[0] += 30
        return found

    return make
