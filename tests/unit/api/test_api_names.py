from __future__ import annotations

import pytest

from tiphys.api import names


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            names.dns1123_subdomain,
            ["a", "a.b-c.d1", "1", "a" * 253],
            ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a" * 254, "a\n"],
        ),
        (names.dns1123_label, ["a", "a-b", "1", "a" * 63], ["", "a.b", "A", "-a", "a" * 64]),
        (names.dns1035_label, ["a", "a-1"], ["", "1a", "a.b", "A", "a-"]),
        (names.wildcard_subdomain, ["*.a.b"], ["a.b", "*", "*.", "*.*.a"]),
        (
            names.qualified_name,
            ["a", "A.b_c-d", "x.y/z", "a" * 63],
            ["", "/a", "a/", "a/b/c", "-a", "A_b/c", "a" * 64, "é"],
        ),
        (names.label_value, ["", "a", "A.b_c", "a" * 63], ["-", "a/b", "a" * 64, "a b"]),
        (names.config_key, ["a", ".a", "A_b-c.d"], ["", ".", "..", "..a", "a b", "a" * 254]),
        (names.port_name, ["http", "a-1", "p" * 15], ["", "1", "a--b", "-a", "a-", "p" * 16, "A", "a_b"]),
        (names.path_segment, ["a:b", "A b"], [".", "..", "a/b", "a%b"]),
        (names.variable_name, ["A", "a.b-c", "1 x"], ["", "a=b", "a\n", "é"]),
        (names.header_name, ["X-Header"], ["", "a b", "a:"]),
        (names.ip, ["10.0.0.1", "::1"], ["", "10.0.0", "10.0.0.256", "a"]),
        (names.cidr, ["10.0.0.0/8", "10.1.2.3/8", "::/0"], ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "x/1"]),
        (names.port_number, [1, 65535], [0, 65536, -1]),
    ],
)
def test_what_is_legal(check, good, bad):
    assert [value for value in good if check(value)] == []
    assert [value for value in bad if not check(value)] == []


def test_messages_are_upstreams():
    assert names.dns1123_subdomain("A") == [
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    ]
    assert names.dns1123_label("a.b") == ["must not contain dots"]
    assert names.label_value("a" * 64) == ["must be no more than 63 bytes"]
    assert names.qualified_name("/a") == ["prefix part must be non-empty"]
    assert names.qualified_name("-")[0].startswith("name part must consist of alphanumeric characters, '-', '_' or '.'")
    assert names.port_name("A") == [
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        "must contain at least one letter (a-z)",
    ]


def test_a_generated_name_may_end_in_a_dash():
    assert names.prefix(names.dns1123_subdomain, "web-") == []
    assert names.prefix(names.dns1123_subdomain, "Web-") != []


def test_labels_and_annotations_of_an_object():
    assert [e.path for e in names.validate_labels({"ok": "x", "-": "x", "k": "-"}, "metadata.labels")] == [
        "metadata.labels"
    ] * 2
    assert list(names.validate_annotations({"Example.com/Key": "any text at all\n"}, "metadata.annotations")) == []
    (error,) = names.validate_annotations({"a": "x" * names.ANNOTATIONS_LIMIT}, "metadata.annotations")
    assert str(error) == "metadata.annotations: Too long: may not be more than 262144 bytes"
