"""YAML bodies: the same data as JSON's, duplicates seen, and nothing that could bring the server down."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.yaml_body import YamlError, loads

TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=4),
)  # fmt: skip


@given(VALUES)
def test_what_was_written_as_yaml_or_json_is_read_back(value):
    assert loads(yaml.safe_dump(value).encode())[0] == value
    assert loads(json.dumps(value, ensure_ascii=False).encode())[0] == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2020-01-01", {"a": "2020-01-01"}),
        ("a: 2020-01-01T00:00:00Z", {"a": "2020-01-01T00:00:00Z"}),
        ("a: yes\nb: off\nc: y", {"a": True, "b": False, "c": "y"}),
        ("a: 0777\nb: 0x1f\nc: 1_000\nd: +3\ne: -0", {"a": 511, "b": 31, "c": 1000, "d": 3, "e": 0}),
        ("a: 1.5\nb: 1e3\nc: .5\nd: 1.2.3", {"a": 1.5, "b": 1000.0, "c": 0.5, "d": "1.2.3"}),
        ("a: '1'\nb: \"true\"\nc: !!str 5\nd: |\n  x\n", {"a": "1", "b": "true", "c": "5", "d": "x\n"}),
        ("1: a\ntrue: b\nnull: c", {"1": "a", "true": "b", "null": "c"}),
        ("a:\nb: ~", {"a": None, "b": None}),
        ("x: &x {k: 1, l: 2}\ny: {<<: *x, l: 3}", {"x": {"k": 1, "l": 2}, "y": {"k": 1, "l": 3}}),
        ("x: &x [1]\ny: *x", {"x": [1], "y": [1]}),
        ("", None),
    ],
)
def test_words_mean_what_go_makes_of_them(text, value):
    assert loads(text.encode())[0] == value


def test_a_key_that_stands_twice_is_reported_and_the_last_counts():
    value, duplicates = loads(b"spec:\n  a: 1\n  b: 2\n  a: 3\n")
    assert value == {"spec": {"a": 3, "b": 2}}
    assert duplicates == ['yaml: line 4: key "a" already set in map']


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "- " * 200_000 + "x", "[" * 200_000, "{a: " * 5000, BOMB, "a: [", "a: b: c", "a: *none", "? [x]\n: y",
        "--- 1\n--- 2", "!!python/object:os.system x", "a: .nan", "\x00", "a: &a [*a]",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(YamlError):
        loads(text.encode())


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(YamlError):
        loads(b"a: \xff\xfe\xfd")
