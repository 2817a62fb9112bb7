from __future__ import annotations

import pytest

from tiphys.api import selectors
from tiphys.api.selectors import EVERYTHING, NOTHING, from_object, parse_fields, parse_labels

WEB = {"app": "web", "tier": "front", "weight": "7"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=db", True),
        ("absent!=x", True),
        ("app", True),
        ("absent", False),
        ("!absent", True),
        ("!app", False),
        ("app in (web,db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("absent notin (db)", True),
        ("app notin (web)", False),
        ("app=web,tier=front", True),
        ("app=web,tier=back", False),
        ("weight>6", True),
        ("weight>7", False),
        ("weight<8", True),
        ("app>1", False),
        ("app=", False),
        (" app = web , tier in ( front , back ) ", True),
        ("absent in (,x)", False),
    ],
)
def test_label_selectors(text, matches):
    assert parse_labels(text).matches(WEB) is matches


def test_a_selector_prints_what_parses_to_itself():
    text = "a in (x,y),b!=1,!c,d,e==2,f=3,g notin (),h>4,i<5".replace("g notin (),", "g notin (z),")
    assert str(parse_labels(text)) == "a in (x,y),b!=1,!c,d,e==2,f=3,g notin (z),h>4,i<5"
    assert parse_labels(str(parse_labels(text))) == parse_labels(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,", "found '', expected: identifier after ','"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        (
            "a in ()",
            "unable to parse requirement: values: Invalid value: []: "
            "for 'in', 'notin' operators, values set can't be empty",
        ),
        (
            "a>x",
            'unable to parse requirement: values[0]: Invalid value: "x": '
            "for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("!", "unable to parse requirement: found '', expected: identifier"),
    ],
)
def test_what_is_no_label_selector(text, message):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is compared as a whole
        parse_labels(text)
    assert str(refused.value) == message


def test_labels_in_a_selector_must_be_legal():
    with pytest.raises(ValueError, match="name part must consist of"):
        parse_labels("-a=b")
    with pytest.raises(ValueError, match="a valid label must be an empty string or consist of"):
        parse_labels("a=-")


def test_selector_objects():
    assert from_object(None) is NOTHING
    assert not from_object(None).matches({})
    assert from_object({}) is EVERYTHING
    assert EVERYTHING.is_everything
    assert not NOTHING.is_everything
    selector = from_object(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "gone", "operator": "DoesNotExist"},
                {"key": "weight", "operator": "Exists"},
                {"key": "zone", "operator": "NotIn", "values": ["a"]},
            ],
        }
    )
    assert selector.matches(WEB)
    assert not selector.matches({**WEB, "gone": ""})
    assert str(selector) == "app=web,!gone,tier in (back,front),weight,zone notin (a)"
    with pytest.raises(ValueError, match='"Near" is not a valid label selector operator'):
        from_object({"matchExpressions": [{"key": "a", "operator": "Near"}]})


def test_field_selectors():
    selector = parse_fields("metadata.name=web,spec.nodeName!=n1,status.phase==Running")
    assert selector.requirements == (
        ("metadata.name", "=", "web"),
        ("spec.nodeName", "!=", "n1"),
        ("status.phase", "=", "Running"),
    )
    fields = {"metadata.name": "web", "spec.nodeName": "", "status.phase": "Running"}
    assert selector.matches(fields.__getitem__)
    assert not selector.matches({**fields, "spec.nodeName": "n1"}.__getitem__)
    assert selector.exact("metadata.name") == "web"
    assert selector.exact("spec.nodeName") is None
    assert parse_fields("").is_everything


def test_field_selectors_escape_their_separators():
    selector = parse_fields(r"a=x\,y\=z\\,b=1")
    assert selector.requirements == (("a", "=", "x,y=z\\"), ("b", "=", "1"))
    assert parse_fields(str(selector)) == selector


@pytest.mark.parametrize("text", ["a", "a=b=c", r"a=\x", "a=b,c"])
def test_what_is_no_field_selector(text):
    with pytest.raises(ValueError, match=r"invalid (field )?selector"):
        parse_fields(text)


def test_selectors_of_plain_labels():
    assert selectors.of_labels({"b": "2", "a": "1"}).matches({"a": "1", "b": "2", "c": "3"})
    assert str(selectors.of_labels({"b": "2", "a": "1"})) == "a=1,b=2"
