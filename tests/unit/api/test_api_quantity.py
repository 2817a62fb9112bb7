from __future__ import annotations

import pytest

from tiphys.api import quantity
from tiphys.api.quantity import Quantity, parse


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0Ki", "0"),
        ("-0", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("-1", "-1"),
        (".5", "500m"),
        ("1.", "1"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("1000000", "1M"),
        ("1100k", "1100k"),
        ("100n", "100n"),
        ("1u", "1u"),
        ("1000u", "1m"),
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1.5Ki", "1536"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1E", "1E"),
        ("1E3", "1e3"),
        ("1e3", "1e3"),
        ("12e6", "12e6"),
        ("1e-3", "1e-3"),
        ("1e2", "100"),
        ("1Ei", "1Ei"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("128974848", "128974848"),
        ("129M", "129M"),
        ("123Mi", "123Mi"),
        ("1e1000", "9223372036854775807"),
        ("9999999999999999999", "9223372036854775807"),
    ],
)
def test_canonical_form(text, canonical):
    assert quantity.canonical(text) == canonical
    assert parse(canonical) == parse(text)


@pytest.mark.parametrize("text", ["", "x", "1x", "1.2.3", "1 Gi", " 1", "1ki", "--1", "1e", "1KI", ".", "1e5i", "1m5"])
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError, match=r"quantit"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value", "milli"),
    [
        ("1", 1, 1000),
        ("100m", 1, 100),
        ("1500m", 2, 1500),
        ("1Gi", 2**30, 2**30 * 1000),
        ("1u", 1, 1),
        ("-100m", -1, -100),
    ],
)
def test_whole_units_and_thousandths_round_away_from_zero(text, value, milli):
    assert (parse(text).value(), parse(text).milli()) == (value, milli)


def test_arithmetic_is_exact_and_keeps_the_suffixes_of_the_left():
    assert str(parse("0.1") + parse("0.2")) == "300m"
    assert str(parse("1Gi") + parse("512Mi")) == "1536Mi"
    assert str(parse("1Gi") - parse("1Mi")) == "1023Mi"
    assert str(quantity.ZERO + parse("1Mi")) == "1Mi"
    assert str(parse("100m") * 3) == "300m"
    assert str(-parse("1k")) == "-1k"


def test_comparison_and_hash_are_of_the_value():
    assert parse("1000m") == parse("1")
    assert hash(parse("1000m")) == hash(parse("1"))
    assert parse("1Ki") > parse("1k")
    assert max(parse("1"), parse("2"), key=None) == Quantity(2 * 10**9)
    assert not quantity.ZERO


def test_numbers_are_quantities_too():
    assert str(parse(2)) == "2"
    assert str(parse(0.25)) == "250m"
    assert parse(1e-07) == parse("100n")
