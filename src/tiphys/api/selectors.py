"""Label and field selectors: parsed once, matched often.

Both parsers raise ValueError with upstream's text; the server answers it as 400.
Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors and
https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tiphys.api import names
from tiphys.api.errors import invalid

IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS = "in", "notin", "=", "==", "!="
EXISTS, DOES_NOT_EXIST, GREATER, LESS = "exists", "!", "gt", "lt"

_BINARY = (IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER, LESS)
_SYMBOLS = {"=": EQUALS, "==": DOUBLE_EQUALS, "!=": NOT_EQUALS, ">": GREATER, "<": LESS, IN: IN, NOT_IN: NOT_IN}
_ONE_VALUE = (IN, EQUALS, DOUBLE_EQUALS)
_OF_OBJECT = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}
_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+|\Z)")
_SPECIAL = frozenset(("=", "==", "!=", "!", "(", ")", ",", "<", ">", ""))
_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `values` is empty for exists and !, a single value for gt and lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        operator = self.operator
        if operator in (IN, EQUALS, DOUBLE_EQUALS):
            return value is not None and value in self.values
        if operator in (NOT_IN, NOT_EQUALS):
            return value is None or value not in self.values
        if operator == EXISTS:
            return value is not None
        if operator == DOES_NOT_EXIST:
            return value is None
        if value is None or _INTEGER.fullmatch(value) is None:
            return False
        (bound,) = self.values
        return int(value) > int(bound) if operator == GREATER else int(value) < int(bound)

    def __str__(self) -> str:
        operator = self.operator
        if operator == EXISTS:
            return self.key
        if operator == DOES_NOT_EXIST:
            return f"!{self.key}"
        values = ",".join(sorted(self.values))
        if operator in (IN, NOT_IN):
            return f"{self.key} {operator} ({values})"
        return f"{self.key}{ {GREATER: '>', LESS: '<'}.get(operator, operator) }{values}"


def requirement(key: str, operator: str, values: Iterable[str] = ()) -> Requirement:
    """A Requirement that is known to be legal. Raises ValueError with upstream's text."""
    listed = list(values)
    problems = [str(invalid("key", key, problem)) for problem in names.label_key(key)]
    if operator in (IN, NOT_IN) and not listed:
        problems.append(str(invalid("values", [], "for 'in', 'notin' operators, values set can't be empty")))
    if operator in (EXISTS, DOES_NOT_EXIST) and listed:
        problems.append(str(invalid("values", listed, "values set must be empty for exists and does not exist")))
    for index, value in enumerate(listed):
        if operator in (GREATER, LESS) and _INTEGER.fullmatch(value) is None:
            why = "for 'Gt', 'Lt' operators, the value must be an integer"
            problems.append(str(invalid(f"values[{index}]", value, why)))
        problems += [str(invalid(f"values[{index}][{key}]", value, problem)) for problem in names.label_value(value)]
    if problems:
        raise ValueError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
    return Requirement(key, operator, frozenset(listed))


class LabelSelector:
    """All of its requirements must hold; without any it selects everything."""

    __slots__ = ("_equal", "requirements")

    def __init__(self, requirements: Sequence[Requirement] = ()) -> None:
        self.requirements = tuple(requirements)
        # What most selectors are: labels and the one value that each must have.
        plain = all(r.operator in _ONE_VALUE and len(r.values) == 1 for r in self.requirements)
        pairs = [(r.key, value) for r in self.requirements for value in r.values] if plain else []
        self._equal = dict(pairs).items() if plain and len(dict(pairs)) == len(pairs) else None

    @property
    def is_everything(self) -> bool:
        return not self.requirements

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self._equal is not None:
            return self._equal <= labels.items()
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def __repr__(self) -> str:
        return f"LabelSelector({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSelector) and self.requirements == other.requirements

    def __hash__(self) -> int:
        return hash(self.requirements)


class _Nothing(LabelSelector):
    __slots__ = ()

    @property
    def is_everything(self) -> bool:
        return False

    def matches(self, labels: Mapping[str, str]) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Nothing)

    __hash__ = LabelSelector.__hash__


EVERYTHING = LabelSelector()
NOTHING: LabelSelector = _Nothing()


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> LabelSelector:
    """The selector that a query's `labelSelector` holds. Raises ValueError."""
    return LabelSelector(sorted(_Parser(text).parse(), key=lambda r: r.key))


def of_labels(labels: Mapping[str, str]) -> LabelSelector:
    """The selector of exactly these labels, as services and replication controllers have it; not validated."""
    return LabelSelector([Requirement(key, EQUALS, frozenset((labels[key],))) for key in sorted(labels)])


def from_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """A LabelSelector object: absent (None) selects nothing, empty selects everything. Raises ValueError."""
    if selector is None:
        return NOTHING
    found = [requirement(k, EQUALS, [v]) for k, v in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        operator = _OF_OBJECT.get(expression.get("operator", ""))
        if operator is None:
            raise ValueError(f'"{expression.get("operator", "")}" is not a valid label selector operator')
        found.append(requirement(expression.get("key", ""), operator, expression.get("values") or ()))
    return LabelSelector(sorted(found, key=lambda r: r.key)) if found else EVERYTHING


class _Parser:
    """Recursive descent over the words of a label selector; the empty word is the end."""

    def __init__(self, text: str) -> None:
        self._words = _TOKEN.findall(text)
        self._at = 0

    def _peek(self) -> str:
        word: str = self._words[self._at] if self._at < len(self._words) else ""
        return word

    def _take(self) -> str:
        word = self._peek()
        self._at += 1
        return word

    def parse(self) -> list[Requirement]:
        found: list[Requirement] = []
        word = self._peek()
        while word:
            if word in _SPECIAL and word != "!":
                raise ValueError(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                found.append(self._requirement())
            except ValueError as error:
                raise ValueError(f"unable to parse requirement: {error}") from None
            word = self._take()
            if word not in ("", ","):
                raise ValueError(f"found '{word}', expected: ',' or 'end of string'")
            if word == ",":
                word = self._peek()
                if word in _SPECIAL and word != "!":
                    raise ValueError(f"found '{word}', expected: identifier after ','")
        return found

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._take()
        key = self._take()
        if key in _SPECIAL:
            raise ValueError(f"found '{key}', expected: identifier")
        if absent or self._peek() in ("", ","):
            return requirement(key, DOES_NOT_EXIST if absent else EXISTS)
        word = self._take()
        operator = _SYMBOLS.get(word)
        if operator is None:
            raise ValueError(f"found '{word}', expected: {', '.join(_BINARY)}")
        return requirement(key, operator, self._values() if operator in (IN, NOT_IN) else [self._exact()])

    def _exact(self) -> str:
        if self._peek() in ("", ","):
            return ""
        word = self._take()
        if word in _SPECIAL:
            raise ValueError(f"found '{word}', expected: identifier")
        return word

    def _values(self) -> list[str]:
        word = self._take()
        if word != "(":
            raise ValueError(f"found '{word}' expected: '('")
        if self._peek() == ")":
            self._take()
            return []
        found = []
        while True:
            # Nothing between two commas, or beside a parenthesis, is the empty string.
            found.append("" if self._peek() in (",", ")") else self._item())
            word = self._take()
            if word == ")":
                return found
            if word != ",":
                raise ValueError(f"found '{word}', expected: ',' or ')'")

    def _item(self) -> str:
        word = self._take()
        if word in _SPECIAL:
            raise ValueError(f"found '{word}', expected: ',', ')' or identifier")
        return word


class FieldSelector:
    """Conditions on fields, each (field, `=` or `!=`, value); all must hold."""

    __slots__ = ("requirements",)

    def __init__(self, requirements: Sequence[tuple[str, str, str]] = ()) -> None:
        self.requirements = tuple(requirements)

    @property
    def is_everything(self) -> bool:
        return not self.requirements

    def matches(self, get: Callable[[str], str]) -> bool:
        """`get` gives the value of a field by its name."""
        return all((get(name) == value) == (operator == "=") for name, operator, value in self.requirements)

    def exact(self, name: str) -> str | None:
        """The one value that `name` must have; None where the selector does not say."""
        return next((v for field, operator, v in self.requirements if field == name and operator == "="), None)

    def __str__(self) -> str:
        return ",".join(f"{name}{operator}{_escape(value)}" for name, operator, value in self.requirements)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSelector) and self.requirements == other.requirements

    def __hash__(self) -> int:
        return hash(self.requirements)


_TERM = re.compile(r"(?:[^\\,]|\\.?)+")
_OPERATION = re.compile(r"((?:[^\\=!]|\\.)*?)(!=|==|=)(.*)", re.DOTALL)


def parse_fields(text: str) -> FieldSelector:
    """The selector that a query's `fieldSelector` holds. Raises ValueError."""
    found = []
    for term in _TERM.findall(text):
        operation = _OPERATION.fullmatch(term)
        if operation is None:
            raise ValueError(f"invalid selector: '{text}'; can't understand '{term}'")
        name, operator, value = operation.groups()
        found.append((name, "!=" if operator == "!=" else "=", _unescape(value)))
    return FieldSelector(found)


def _escape(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)


def _unescape(value: str) -> str:
    for bad in re.finditer(r"\\(.?)", value):
        if bad[1] not in ("\\", ",", "="):
            raise ValueError(f"invalid field selector: invalid escape sequence: \\{bad[1]}")
    if re.search(r"(?<!\\)(?:\\\\)*[,=]", value):
        raise ValueError(f"invalid field selector: unescaped character in value: {value}")
    return re.sub(r"\\([\\,=])", r"\1", value)
