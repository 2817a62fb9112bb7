"""Running the rules of a schema on an object, with what it was before where that can be told.

A rule that fails on a value that did not change is forgiven (ratcheting), unless it looks at the old value itself.
Source: upstream's `apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tiphys.api.cel.errors import CelError, CostExceeded, EvalError
from tiphys.api.cel.kubernetes import RUNTIME_BUDGET
from tiphys.api.cel.values import NONE, Optional
from tiphys.api.errors import FieldError, duplicate, forbidden, invalid, required
from tiphys.api.rules.compiled import Rule, RuleTree
from tiphys.api.schema import Schema, canonical

_LONGEST_MESSAGE = 5 * 1024
_NO_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
ABSENT: Any = object()


class Place(NamedTuple):
    """A value and what it was. `old` is None where it cannot be correlated; `before` is for ratcheting only, with
    `parent`, the nearest pair above that can be compared."""

    path: str
    new: Any
    old: Any
    before: Any = ABSENT
    parent: tuple[Any, Any] | None = None

    def unchanged(self) -> bool:
        one, two = (self.new, self.before) if self.before is not ABSENT else self.parent or (0, 1)
        return one is two or (type(one) is type(two) and canonical(one) == canonical(two))

    def child(self, path: str, new: Any, old: Any, before: Any) -> Place:
        if self.before is ABSENT:
            return Place(path, new, old, ABSENT, self.parent)
        return Place(path, new, old, before, (self.new, self.before))


def evaluate_rules(tree: RuleTree, new: Any, old: Any = None, *, budget: int = RUNTIME_BUDGET) -> Iterator[FieldError]:
    """What the rules say about `new`; `old` is None for a creation. The rules of one request share `budget`."""
    before = ABSENT if old is None else old
    yield from Evaluation(budget).run(tree, Place("", new, old, before))


class Evaluation:
    """One walk over an object. `forgiven` collects the failures that ratcheting forgave, which upstream warns of."""

    def __init__(self, budget: int) -> None:
        self._left = budget
        self.forgiven: list[FieldError] = []

    def run(self, tree: RuleTree, place: Place) -> Iterator[FieldError]:
        if place.new is None or self._left < 0:
            return
        if tree.raws:
            yield from self._rules(tree, place)
        for part in tree.all_of:
            yield from self.run(part, place._replace(before=ABSENT))
        if isinstance(place.new, list) and tree.items is not None:
            yield from self._items(tree.items, tree.schema, place)
        elif isinstance(place.new, dict):
            yield from self._fields(tree, place)

    def _fields(self, tree: RuleTree, place: Place) -> Iterator[FieldError]:
        old = place.old if isinstance(place.old, dict) else {}
        before = place.before if isinstance(place.before, dict) else {}
        root = place.path == "" and place.parent is None
        for name, value in place.new.items():
            inner = tree.properties.get(name)
            path = f"{place.path}.{name}" if place.path else name
            if inner is None:
                if tree.additional is None or name in tree.schema.properties:
                    continue
                inner, path = tree.additional, f"{place.path}[{name}]"
            child = place.child(path, value, old.get(name), before.get(name, ABSENT))
            if root and name in ("apiVersion", "kind"):
                child = Place(path, value, old.get(name))
            yield from self.run(inner, child)

    def _items(self, inner: RuleTree, schema: Schema, place: Place) -> Iterator[FieldError]:
        olds = _by_keys(schema, place.old)
        befores = _by_keys(schema, None if place.before is ABSENT else place.before)
        for index, item in enumerate(place.new):
            key = _key(schema, item)
            child = place.child(f"{place.path}[{index}]", item, olds.get(key), befores.get(key, ABSENT))
            yield from self.run(inner, child)

    def _rules(self, tree: RuleTree, place: Place) -> Iterator[FieldError]:
        decl = tree.decl
        if decl is None:
            text = "rule compiler initialization error: failed to convert to declType for CEL validation rules"
            yield invalid(place.path or "<nil>", tree.schema.type, text)
            return
        kind, path = tree.schema.type, place.path or "<nil>"
        try:
            this, old = decl.value(place.new), decl.value(place.old)
        except EvalError as error:
            yield invalid(path, kind, str(error))
            return
        for rule in tree.rules:
            if rule.error:
                yield invalid(path, kind, f"rule compile error: {rule.error}")
                continue
            if rule.program is None or (rule.uses_old and place.old is None and not rule.optional_old):
                continue
            previous = old
            if rule.optional_old:
                previous = NONE if place.old is None else Optional(old)
            yield from self._rule(rule, place, {"self": this, "oldSelf": previous}, kind)
            if self._left < 0:
                return

    def _rule(self, rule: Rule, place: Place, bindings: dict[str, Any], kind: str) -> Iterator[FieldError]:
        path = place.path or "<nil>"
        try:
            value = self._evaluate(rule.program, bindings)
        except CostExceeded as error:
            text = _NO_BUDGET
            if self._left >= 0:
                text = (
                    f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: "
                    f"{rule.shown}"
                )
            self._left = -1
            yield invalid(path, kind, text)
            return
        except EvalError as error:
            why = f"{error} evaluating rule: {rule.shown}"
            if str(error).startswith("no such overload"):
                signature = "call arguments did not match a supported operator, function or macro signature for rule"
                why = f"'{error}': {signature}: {rule.shown}"
            yield invalid(path, kind, why)
            return
        if value is True:
            return
        at = place.path
        if rule.path:
            at = f"{at}.{rule.path}" if at else rule.path
        failure = _failure(at or "<nil>", place.new, self._message(rule, bindings), rule.raw.get("reason"))
        if not rule.uses_old and place.unchanged():
            self.forgiven.append(failure)
        else:
            yield failure

    def _evaluate(self, program: Any, bindings: dict[str, Any]) -> Any:
        meter = _Meter()
        try:
            return program.evaluate(bindings, meter)
        finally:
            self._left -= meter.spent
            if self._left < 0:
                raise CostExceeded

    def _message(self, rule: Rule, bindings: dict[str, Any]) -> str:
        """The message that the rule computes, else the one that it has."""
        if rule.message is not None:
            try:
                text = self._evaluate(rule.message, bindings)
            except CelError:
                text = ""
            text = text.strip() if isinstance(text, str) else ""
            if text and "\n" not in text and len(text.encode()) <= _LONGEST_MESSAGE:
                return text
        return str(rule.raw.get("message") or "").strip() or f"failed rule: {rule.shown}"


class _Meter:
    """Stands in for a Budget: what one evaluation cost."""

    def __init__(self) -> None:
        self.spent = 0

    def spend(self, cost: int) -> None:
        self.spent += cost


def _failure(path: str, value: Any, detail: str, reason: str | None) -> FieldError:
    if reason == "FieldValueForbidden":
        return forbidden(path, detail)
    if reason == "FieldValueRequired":
        return required(path, detail)
    composite = isinstance(value, (dict, list))
    if reason == "FieldValueDuplicate":
        return FieldError(path, reason, "Duplicate value") if composite else duplicate(path, value)
    if composite:
        return FieldError(path, "FieldValueInvalid", f"Invalid value: {detail}")
    return invalid(path, value, detail)


def _key(schema: Schema, item: Any) -> tuple[Any, ...] | None:
    if schema.list_type != "map" or not isinstance(item, dict):
        return None
    return tuple(str(item.get(name)) for name in schema.list_map_keys)


def _by_keys(schema: Schema, items: Any) -> dict[tuple[Any, ...] | None, Any]:
    """The old items of a list that is a map, by their keys; others cannot be told apart."""
    if schema.list_type != "map" or not isinstance(items, list):
        return {}
    return {_key(schema, item): item for item in items}
