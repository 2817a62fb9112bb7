"""What is refused at compilation, in cel-go's words and places."""

from __future__ import annotations

import pytest

from tiphys.api.cel import types as t
from tiphys.api.cel.environment import Environment
from tiphys.api.cel.errors import CompileError
from tiphys.api.cel.kubernetes import environment

SELF = t.Struct("object", {"foo": t.Field("foo", t.INT), "names": t.Field("names", t.list_of(t.STRING))})


@pytest.fixture
def env() -> Environment:
    return environment({"self": SELF})


def issue(env: Environment, source: str, *results: t.Type) -> str:
    with pytest.raises(CompileError) as caught:
        env.compile(source, *results)
    return str(caught.value)


def test_an_error_shows_where_it_is(env: Environment) -> None:
    text = "compilation failed: ERROR: <input>:1:5: undefined field 'bar'\n | self.bar > 0\n | ....^"
    assert issue(env, "self.bar > 0") == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("self.foo + 'a'", "ERROR: <input>:1:10: found no matching overload for '_+_' applied to '(int, string)'"),
        ("nope", "ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')"),
        ("self.names.nope()", "ERROR: <input>:1:16: undeclared reference to 'nope' (in container '')"),
        ("self.foo.x", "ERROR: <input>:1:9: type 'int' does not support field selection"),
        ("[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'"),
        ("1 && true", "ERROR: <input>:1:1: expected type 'bool' but found 'int'"),
        ("self.foo.all(x, true)", "cannot be range of a comprehension (must be list, map, or dynamic)"),
        ("[1].all(1, true)", "ERROR: <input>:1:9: argument must be a simple name"),
        ("[1].map(1, 1)", "ERROR: <input>:1:9: argument is not an identifier"),
        ("has(self)", "ERROR: <input>:1:5: invalid argument to has() macro"),
        ("'a'.matches('(')", "ERROR: <input>:1:13: invalid matches argument"),
        ("duration('1x')", "ERROR: <input>:1:10: invalid duration argument"),
        ("timestamp('x')", "ERROR: <input>:1:11: invalid timestamp argument"),
        ("9223372036854775808", "ERROR: <input>:1:1: invalid int literal"),
        ("var + 1", "ERROR: <input>:1:1: reserved identifier: var"),
        ("self.foo >", "Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.'"),
        ("self.foo $ 1", "ERROR: <input>:1:10: Syntax error: token recognition error at: '$'"),
        ("self.foo)", "ERROR: <input>:1:9: Syntax error: extraneous input ')' expecting <EOF>"),
        ("(" * 300 + "1" + ")" * 300, "expression recursion limit exceeded: 250"),
        ("1" * 100_001, "expression code point size exceeds limit"),
    ],
)
def test_is_refused(env: Environment, source: str, text: str) -> None:
    assert text in issue(env, source)


def test_the_type_may_be_asked_for(env: Environment) -> None:
    assert issue(env, "self.foo", t.BOOL) == "must evaluate to bool but got int"


def test_all_errors_are_told_in_order(env: Environment) -> None:
    lines = [line for line in issue(env, "self.a == self.b").split("\n") if "ERROR" in line]
    assert [line.rpartition(": ")[2] for line in lines] == ["undefined field 'a'", "undefined field 'b'"]
