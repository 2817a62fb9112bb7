"""Laws of the expression language: it agrees with Python where both mean the same, and never does anything else
than give a value or one of its own errors."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.cel import types as t
from tiphys.api.cel.environment import Program
from tiphys.api.cel.errors import CelError, EvalError
from tiphys.api.cel.kubernetes import environment
from tiphys.api.cel.values import INT_MAX, INT_MIN, equals

numbers = st.integers(INT_MIN, INT_MAX)
data = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def program(source: str, **kinds: t.Type) -> Program:
    return environment(kinds).compile(source)


ADD = program("a + b", a=t.INT, b=t.INT)
ORDER = program("a < b || a == b || a > b", a=t.INT, b=t.INT)
SAME = program("a == b", a=t.DYN, b=t.DYN)
SPLIT = program("a.split(b).join(b)", a=t.STRING, b=t.STRING)
SORTED = program("a.sort().isSorted()", a=t.list_of(t.INT))
FOLD = program("a.filter(x, x > 0).map(x, x - 1)", a=t.list_of(t.INT))


@given(numbers, numbers)
def test_sums_are_right_or_refused(one: int, two: int) -> None:
    try:
        assert ADD.evaluate({"a": one, "b": two}) == one + two
    except EvalError:
        assert not INT_MIN <= one + two <= INT_MAX


@given(numbers, numbers)
def test_numbers_are_ordered(one: int, two: int) -> None:
    assert ORDER.evaluate({"a": one, "b": two}) is True


@given(data, data)
def test_equality_is_symmetric_and_reflexive(one: Any, two: Any) -> None:
    assert equals(one, one)
    assert SAME.evaluate({"a": one, "b": two}) == SAME.evaluate({"a": two, "b": one})


@given(st.text(max_size=20), st.text(min_size=1, max_size=3))
def test_what_is_split_can_be_joined(text: str, separator: str) -> None:
    assert SPLIT.evaluate({"a": text, "b": separator}) == text


@given(st.lists(st.integers(-100, 100), max_size=20))
def test_lists_are_folded_as_python_folds_them(items: list[int]) -> None:
    assert SORTED.evaluate({"a": items}) is True
    assert FOLD.evaluate({"a": items}) == [item - 1 for item in items if item > 0]


@given(
    st.lists(
        st.sampled_from([*"()[]{}.,?:+-*/%<>!'\"x1u ", "&&", "||", "==", " in ", "self", ".all(x, ", "has(", "1.5"]),
        max_size=20,
    ),
    data,
)
def test_any_text_is_compiled_and_evaluated_or_refused(parts: list[str], value: Any) -> None:
    with suppress(CelError):
        program("".join(parts), self=t.DYN).evaluate({"self": value})
