"""Which names, keys, values and addresses are legal. Every check returns upstream's messages, none for a legal value.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and .../labels/
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping

from tiphys.api.errors import FieldError, invalid, too_long

ANNOTATIONS_LIMIT = 256 * 1024

_QUALIFIED_FORM = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE_FORM = f"({_QUALIFIED_FORM})?"
_LABEL_FORM = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_FORM = f"{_LABEL_FORM}(\\.{_LABEL_FORM})*"
_DNS1035_FORM = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LAX_LABEL_FORM = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_LAX_SUBDOMAIN_FORM = f"{_LAX_LABEL_FORM}(\\.{_LAX_LABEL_FORM})*"
_WILDCARD_FORM = f"\\*\\.{_SUBDOMAIN_FORM}"
_CONFIG_KEY_FORM = "[-._a-zA-Z0-9]+"
_HEADER_FORM = "[-A-Za-z0-9]+"
_VARIABLE_FORM = "[ -<>-~]+"

_QUALIFIED = re.compile(_QUALIFIED_FORM)
_LABEL_VALUE = re.compile(_LABEL_VALUE_FORM)
_LABEL = re.compile(_LABEL_FORM)
_SUBDOMAIN = re.compile(_SUBDOMAIN_FORM)
_DNS1035 = re.compile(_DNS1035_FORM)
_LAX_SUBDOMAIN = re.compile(_LAX_SUBDOMAIN_FORM)
_WILDCARD = re.compile(_WILDCARD_FORM)
_CONFIG_KEY = re.compile(_CONFIG_KEY_FORM)
_HEADER = re.compile(_HEADER_FORM)
_VARIABLE = re.compile(_VARIABLE_FORM)
_PORT_NAME = re.compile("[-a-z0-9]+")

_EMPTY = "must be non-empty"


def _must_match(rule: str, form: str, *examples: str) -> str:
    # The blanks are upstream's: an example is followed by ", ", whatever comes next.
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {shown}regex used for validation is '{form}')"


_QUALIFIED_RULE = _must_match(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED_FORM, "MyName", "my.name", "123-abc",
)  # fmt: skip
_LABEL_VALUE_RULE = _must_match(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _LABEL_VALUE_FORM, "MyValue", "my_value", "12345",
)  # fmt: skip
_LABEL_RULE = _must_match(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _LABEL_FORM, "my-name", "123-abc",
)  # fmt: skip
_SUBDOMAIN_RULE = _must_match(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN_FORM, "example.com",
)  # fmt: skip
_LAX_SUBDOMAIN_RULE = _must_match(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    "and must start and end with an alphanumeric character",
    _LAX_SUBDOMAIN_FORM, "example.com",
)  # fmt: skip
_DNS1035_RULE = _must_match(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character",
    _DNS1035_FORM, "my-name", "abc-123",
)  # fmt: skip
_WILDCARD_RULE = _must_match(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD_FORM, "*.example.com",
)  # fmt: skip
_CONFIG_KEY_RULE = _must_match(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY_FORM, "key.name", "KEY_NAME", "key-name",
)  # fmt: skip
_HEADER_RULE = _must_match(
    "a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER_FORM, "X-Header-Name"
)
_VARIABLE_RULE = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def _too_long(limit: int, unit: str = "characters") -> str:
    return f"must be no more than {limit} {unit}"


def _checked(value: str, limit: int, pattern: re.Pattern[str], rule: str) -> list[str]:
    found = [] if len(value) <= limit else [_too_long(limit)]
    if pattern.fullmatch(value) is None:
        found.append(rule)
    return found


def dns1123_subdomain(value: str) -> list[str]:
    """The name of most objects."""
    return _checked(value, 253, _SUBDOMAIN, _SUBDOMAIN_RULE)


def dns1123_label(value: str) -> list[str]:
    """The name of a namespace, a container, a volume."""
    found = _checked(value, 63, _LABEL, _LABEL_RULE)
    if found and found[-1] == _LABEL_RULE and _SUBDOMAIN.fullmatch(value):
        found[-1] = "must not contain dots"
    return found


def lax_subdomain(value: str) -> list[str]:
    """A domain to search, whose labels may hold underscores."""
    return _checked(value, 253, _LAX_SUBDOMAIN, _LAX_SUBDOMAIN_RULE)


def dns1035_label(value: str) -> list[str]:
    """The name of a service."""
    return _checked(value, 63, _DNS1035, _DNS1035_RULE)


def wildcard_subdomain(value: str) -> list[str]:
    """A host such as `*.example.com`."""
    return _checked(value, 253, _WILDCARD, _WILDCARD_RULE)


def path_segment(value: str) -> list[str]:
    """A name that need only fit into a URL path, as RBAC's do."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in value]


def prefix(check: Callable[[str], list[str]], value: str) -> list[str]:
    """Check a generateName: a name's beginning, whose trailing dash will not be the end."""
    return check(value[:-1] + "a" if value.endswith("-") and len(value) > 1 else value)


def qualified_name(value: str) -> list[str]:
    """A key of a label, annotation, taint or condition: `name` or `dns.subdomain/name`."""
    parts = value.split("/")
    found: list[str] = []
    if len(parts) > 2:
        optional = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {_QUALIFIED_RULE}{optional}"]
    if len(parts) == 2:
        problems = dns1123_subdomain(parts[0]) if parts[0] else [_EMPTY]
        found += [f"prefix part {problem}" for problem in problems]
    name = parts[-1]
    if not name:
        found.append(f"name part {_EMPTY}")
    elif len(name) > 63:
        found.append(f"name part {_too_long(63, 'bytes')}")
    if _QUALIFIED.fullmatch(name) is None:
        found.append(f"name part {_QUALIFIED_RULE}")
    return found


def label_key(value: str) -> list[str]:
    return qualified_name(value)


def label_value(value: str) -> list[str]:
    found = [] if len(value) <= 63 else [_too_long(63, "bytes")]
    if _LABEL_VALUE.fullmatch(value) is None:
        found.append(_LABEL_VALUE_RULE)
    return found


def config_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    found = _checked(value, 253, _CONFIG_KEY, _CONFIG_KEY_RULE)
    if value in (".", ".."):
        found.append(f"must not be '{value}'")
    elif value.startswith(".."):
        found.append("must not start with '..'")
    return found


def header_name(value: str) -> list[str]:
    return [] if _HEADER.fullmatch(value) else [_HEADER_RULE]


def variable_name(value: str) -> list[str]:
    """The name of an environment variable."""
    if not value:
        return [f"environment variable name {_EMPTY}"]
    return [] if _VARIABLE.fullmatch(value) else [f"{_VARIABLE_RULE} (regex used for validation is '{_VARIABLE_FORM}')"]


def port_number(value: int) -> list[str]:
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def port_name(value: str) -> list[str]:
    found = []
    if len(value) > 15:
        found.append(_too_long(15))
    if _PORT_NAME.fullmatch(value) is None:
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= char <= "z" for char in value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value[:1] == "-" or value[-1:] == "-":
        found.append("must not begin or end with a hyphen")
    return found


def ip(value: str) -> list[str]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


def cidr(value: str) -> list[str]:
    try:
        if "/" in value and value.rpartition("/")[2].isdigit():
            ipaddress.ip_network(value, strict=False)
            return []
    except ValueError:
        pass
    return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]


def validate_labels(labels: Mapping[str, str], path: str) -> Iterator[FieldError]:
    """What is wrong with labels at `path`, such as "metadata.labels"."""
    for key, value in labels.items():
        for problem in label_key(key):
            yield invalid(path, key, problem)
        for problem in label_value(value):
            yield invalid(path, value, problem)


def validate_annotations(annotations: Mapping[str, str], path: str) -> Iterator[FieldError]:
    """What is wrong with annotations at `path`: their keys, and their size together."""
    size = 0
    for key, value in annotations.items():
        for problem in qualified_name(key.lower()):
            yield invalid(path, key, problem)
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_LIMIT:
        yield too_long(path, ANNOTATIONS_LIMIT)
