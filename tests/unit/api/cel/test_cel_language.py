"""The language itself: operators, macros, conversions, optionals, what has no value."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.cel.errors import CostExceeded, EvalError
from tiphys.api.cel.values import Uint

TRUE = [
    "1 + 2 * 3 == 7 && -7 / 2 == -3 && -7 % 2 == -1",
    "1u + 2u == 3u && dyn(1) == 1.0 && 1u < 2 && 2.5 > 2",
    "true ? 1 == 1 : false",
    "'a' + 'b' == 'ab' && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2]",
    "r'\\d' == '\\\\d' && '\\u00e9' == 'é' && '''a\nb''' == 'a\\nb' && b'\\xff' == b'\\377'",
    "[1, 2, 3].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2, 2].exists_one(x, x == 1)",
    "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
    "[1, 2, 3].filter(x, x % 2 == 1) == [1, 3] && {'a': 1, 'b': 2}.filter(k, k == 'a') == ['a']",
    "[[1, 2], [3]].all(x, x.all(y, y in [1, 2, 3]))",
    "[1, 2].all(i, v, i + 1 == v) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
    "[1, 2].transformList(i, v, i * v) == [0, 2] && {'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
    "{'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'}",
    "has({'a': 1}.a) && !has({'a': 1}.b)",
    "{'a': 1}.?a.hasValue() && {'a': 1}.?b.orValue(2) == 2 && [1][?3].or(optional.of(4)).value() == 4",
    "optional.of(2).optMap(x, x + 1).value() == 3 && optional.none().optMap(x, x) == optional.none()",
    "[?optional.of(1), ?optional.none()] == [1] && {?'a': optional.none()} == {}",
    "optional.ofNonZeroValue('') == optional.none() && [1, 2].first().value() == 1",
    "type(1) == int && type('a') == string && type([]) == list && type(type(1)) == type",
    "int('12') == 12 && double('1.5') == 1.5 && string(1.5) == '1.5' && uint(3) == 3u && string(1e6) == '1e+06'",
    "bool('true') && bytes('é') == b'\\xc3\\xa9' && string(b'abc') == 'abc' && string(true) == 'true'",
    "duration('1h30m').getMinutes() == 90 && string(duration('90s')) == '90s' && duration('-1.5s') < duration('0')",
    "timestamp('2024-02-29T12:00:00Z') + duration('24h') == timestamp('2024-03-01T12:00:00Z')",
    "timestamp('2024-01-01T00:30:00Z').getFullYear('America/New_York') == 2023",
    "timestamp('2024-01-01T00:00:00Z').getDayOfWeek() == 1 && timestamp('2024-01-01T00:00:00Z').getHours('02:00') == 2",
    "dyn(1) == dyn(1u) && [dyn(1), 'a'] != [dyn(1)] && dyn(true) != dyn(1)",
    "{1: 'a'}[1] == 'a' && 'b' in {'b': 1} && 2 in [1, 2]",
    "size('héllo') == 5 && 'abc'.size() == 3 && size({'a': 1}) == 1",
    "[1, 2, 3].exists(x, 10 / (x - 1) == 5)",
    "!(1 / 0 == 1 && false) && (1 / 0 == 1 || true)",
]


@pytest.mark.parametrize("source", TRUE)
def test_holds(evaluate: Any, source: str) -> None:
    assert evaluate(source) is True


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("9223372036854775807 + 1", "integer overflow"),
        ("-(-9223372036854775808)", "integer overflow"),
        ("0u - 1u", "unsigned integer overflow"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "modulus by zero"),
        ("[1][1]", "index out of bounds: 1"),
        ("{'a': 1}['b']", "no such key: b"),
        ("self.a.b", "no such key: a"),
        ("dyn('a') + 1", "no such overload"),
        ("optional.none().value()", "optional.none() dereference"),
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("int(1e30)", "integer overflow"),
        ("{'a': 1, 'a': 2}", "Failed with repeated key: a"),
        ("[1, 2].all(x, 1 / 0 == x)", "division by zero"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", "timestamp overflow"),
    ],
)
def test_has_no_value(evaluate: Any, source: str, why: str) -> None:
    with pytest.raises(EvalError, match=why.replace("(", r"\(").replace(")", r"\)")):
        evaluate(source, {})


def test_unsigned_numbers_stay_unsigned(evaluate: Any) -> None:
    assert type(evaluate("1u + 2u")) is Uint


def test_null_is_a_value_of_data_without_a_schema(evaluate: Any) -> None:
    assert evaluate("has(self.a) && self.a == null", {"a": None}) is True


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (
            "[1, 2, 3, 4, 5, 6, 7, 8, 9].all(a, self.all(b, self.all(c, self.all(d, self.all(e, self.all(f, true))))))",
            list(range(9)),
        ),
        ("lists.range(1000000000).size() > 0", None),
        ("[self]" + ".map(x, x + x)" * 40 + ".size() > 0", "a" * 1000),
        ("self.replace('', self).size() > 0", "a" * 10_000),
        ("self.distinct().size() > 0", list(range(10_000))),
    ],
)
def test_what_costs_too_much_is_stopped(evaluate: Any, source: str, value: Any) -> None:
    with pytest.raises(CostExceeded):
        evaluate(source, value)


def test_a_pattern_cannot_take_for_ever(evaluate: Any) -> None:
    assert evaluate("self.matches('^(a+)+$')", "a" * 60 + "!") is False
