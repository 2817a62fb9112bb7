"""Flags as pflag reads them."""

from __future__ import annotations

import pytest

from tiphys.cli.errors import UsageError
from tiphys.cli.flags import HelpAsked, duration, parse, table

FLAGS = list(
    table("""
    name,n str  A text.
    stdin,i bool  A switch.
    tty,t bool=true  Another.
    count,c int=-1  A number.
    part list  Parts.
    dry-run opt:unchanged=none  Optional value.
    """)
)


def test_all_forms():
    parsed = parse(["a", "-n", "x", "-it", "--count=3", "--part", "p,q", "--part=r", "b", "--", "-n", "c"], FLAGS)
    assert parsed.args == ["a", "b", "-n", "c"]
    assert parsed.dash == 2
    assert parsed.options["name"] == "x"
    assert parsed.options["part"] == ["p", "q", "r"]
    assert (parsed.options["stdin"], parsed.options["count"]) == (True, 3)
    assert parsed.options.given == {"name", "stdin", "tty", "count", "part"}


def test_values_that_may_be_left_out():
    assert parse([], FLAGS).options["dry-run"] == "none"
    assert parse(["--dry-run", "x"], FLAGS).options["dry-run"] == "unchanged"
    assert parse(["--dry-run=client"], FLAGS).options["dry-run"] == "client"
    assert parse(["--tty=false", "-nx"], FLAGS).options["tty"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["-n"], "flag needs an argument: 'n' in -n"),
        (["--count=a"], 'invalid argument "a" for "-c, --count" flag'),
    ],
)
def test_wrong_flags(words, message):
    with pytest.raises(UsageError, match=message):
        parse(words, FLAGS)


def test_help_is_asked_for():
    with pytest.raises(HelpAsked):
        parse(["a", "--help"], FLAGS)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1h30m", 5400), ("1.5s", 1.5), ("-1s", -1), ("300ms", 0.3)])
def test_durations(text, seconds):
    assert duration(text) == pytest.approx(seconds)
