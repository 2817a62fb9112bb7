"""What is wrong with the rules of a definition: their text, their types, their cost, and what they correlate.

Source: upstream's `apiextensions-apiserver/pkg/apis/apiextensions/validation/{validation,cel_validation}.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tiphys.api import schema as s
from tiphys.api.cel.decl import Decl, declare
from tiphys.api.cel.errors import EvalError
from tiphys.api.cel.escaping import escape
from tiphys.api.cel.kubernetes import RUNTIME_BUDGET
from tiphys.api.errors import FieldError, forbidden, invalid, not_supported, required
from tiphys.api.rules import has_rules
from tiphys.api.rules.compiled import Rule, cardinality, compile_rules, tree
from tiphys.api.rules.evaluate import Evaluation, Place
from tiphys.api.rules.paths import field_path
from tiphys.api.schema import Schema

EXPRESSION_LIMIT, DEFINITION_LIMIT = 10_000_000, 100_000_000
_MOST = 2**64 - 1
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_LINE_BREAK = re.compile(r"[\n\r]")
_KEY = "x-kubernetes-validations"


class _Scope(NamedTuple):
    """Where the walk is: `often` is how often the place can occur (None: nobody knows), `fixed` the path of the
    schema above that cannot be correlated with what was before."""

    path: str
    often: int | None
    fixed: str = ""


def check_rules(schema: Schema, path: str) -> Iterator[FieldError]:
    """Complaints about the rules below `path`, which is where the definition keeps this schema."""
    walk = _Walk()
    problems = list(walk.visit(schema, declare(schema, root=True), _Scope(path, 1)))
    yield from problems or _defaults(schema, path)
    if walk.total > DEFINITION_LIMIT:
        for place, _ in sorted(walk.expensive, key=lambda each: -each[1])[:4]:
            text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            yield forbidden(place, text)
        name = f"{_KEY} estimated rule cost total for entire OpenAPIv3 schema"
        yield forbidden(path, _excess(name, walk.total, DEFINITION_LIMIT))


def _defaults(node: Schema, path: str) -> Iterator[FieldError]:
    """What the rules say about the defaults that stand where there are rules."""
    if node.default is not None and has_rules(node):
        found = tree(node, root=node.embedded_resource)
        if found is not None:
            yield from Evaluation(RUNTIME_BUDGET).run(found, Place(f"{path}.default", node.default, None))
    for name, child in node.properties.items():
        yield from _defaults(child, f"{path}.properties[{name}]")
    if node.items is not None:
        yield from _defaults(node.items, f"{path}.items")
    if node.additional is not None and node.additional is not s.ANYTHING:
        yield from _defaults(node.additional, f"{path}.additionalProperties")


class _Walk:
    def __init__(self) -> None:
        self.total = 0
        self.expensive: list[tuple[str, int]] = []

    def visit(self, node: Schema, decl: Decl | None, scope: _Scope) -> Iterator[FieldError]:
        yield from self._inner(node, decl, scope)
        where = f"{scope.path}.{_KEY}"
        plain = [error for index, raw in enumerate(node.rules) for error in _plain(node, raw, f"{where}[{index}]")]
        yield from plain
        if plain or not node.rules:
            return
        if decl is None:
            why = "internal error: failed to construct type information for x-kubernetes-validations rules"
            yield invalid(where, "", f"{why}: unable to convert structural schema to CEL declarations")
            return
        try:
            rules = compile_rules(node.rules, node, decl)
        except EvalError as error:
            yield invalid(where, "", str(error))
            return
        for index, rule in enumerate(rules):
            yield from self._rule(rule, decl, scope, f"{where}[{index}]")

    def _inner(self, node: Schema, decl: Decl | None, scope: _Scope) -> Iterator[FieldError]:
        element = decl.element if decl is not None else None
        if node.additional is not None and node.additional is not s.ANYTHING:
            inner = _Scope(f"{scope.path}.additionalProperties", _times(scope.often, _bound(node)), scope.fixed)
            yield from self.visit(node.additional, element, inner)
        for name, child in sorted(node.properties.items()):
            identifier = escape(name)
            own = decl.fields.get(identifier) if decl is not None and identifier is not None else None
            inner = _Scope(f"{scope.path}.properties[{name}]", _times(scope.often, _bound(node)), scope.fixed)
            if child.rules or child.properties or child.items or child.additional:
                yield from self.visit(child, own or declare(child, root=child.embedded_resource), inner)
        if node.items is not None:
            fixed = scope.fixed or (scope.path if node.list_type != "map" else "")
            inner = _Scope(f"{scope.path}.items", _times(scope.often, _bound(node)), fixed)
            yield from self.visit(node.items, element, inner)

    def _rule(self, rule: Rule, decl: Decl, scope: _Scope, path: str) -> Iterator[FieldError]:
        cost = _times(rule.cost, scope.often if scope.often is not None else cardinality(decl)) or 0
        yield from self._spend(f"{path}.rule", "estimated rule cost", cost)
        if rule.error:
            yield invalid(f"{path}.rule", _shown(rule.raw), rule.error)
        if rule.message_error:
            yield invalid(f"{path}.messageExpression", _shown(rule.raw), rule.message_error)
        elif rule.message is not None:
            yield from self._spend(f"{path}.messageExpression", "estimated messageExpression cost", rule.message_cost)
        if rule.uses_old and scope.fixed:
            text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {scope.fixed}"
            yield invalid(f"{path}.rule", rule.raw["rule"], text)
        elif not rule.uses_old and rule.raw.get("optionalOldSelf") is not None:
            value = rule.raw["optionalOldSelf"]
            yield invalid(f"{path}.optionalOldSelf", value, "may not be set if oldSelf is not used in rule")

    def _spend(self, path: str, name: str, cost: int) -> Iterator[FieldError]:
        if cost > EXPRESSION_LIMIT:
            yield forbidden(path, _excess(name, cost, EXPRESSION_LIMIT))
        self.total = min(self.total + cost, _MOST)
        if cost >= DEFINITION_LIMIT // 100:
            self.expensive.append((path, cost))


def _shown(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as upstream prints it: its internal type, with all fields."""
    texts = {name: raw.get(name[0].lower() + name[1:]) or "" for name in ("Rule", "Message", "MessageExpression")}
    rest = {"Reason": raw.get("reason"), "FieldPath": raw.get("fieldPath") or ""}
    return {**texts, **rest, "OptionalOldSelf": raw.get("optionalOldSelf")}


def _times(one: int | None, two: int | None) -> int | None:
    return None if one is None or two is None else min(one * two, _MOST)


def _bound(node: Schema) -> int | None:
    """How many values there can be below one of this node; None where nothing says."""
    limits = node.limits
    if node.code == s.ARRAY:
        return None if limits is None or limits.max_items is None else max(0, limits.max_items)
    if node.additional is not None:
        return None if limits is None or limits.max_properties is None else max(0, limits.max_properties)
    return 1


def _excess(name: str, cost: int, limit: int) -> str:
    excess = cost / limit
    factor = "more than 100x" if excess > 100 else f"{excess:f}x" if excess < 1.5 else f"{excess:.1f}x"
    where = "where arrays, maps, and strings are declared"
    advice = f"try simplifying the rule, or adding maxItems, maxProperties, and maxLength {where}"
    return f"{name} exceeds budget by factor of {factor} ({advice})"


def _plain(node: Schema, raw: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """What needs no compiler."""
    rule, message, field = raw.get("rule") or "", raw.get("message") or "", raw.get("fieldPath") or ""
    if not rule.strip():
        yield required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{path}.message", message, "must be non-empty if specified")
    elif _LINE_BREAK.search(message.strip()):
        yield invalid(f"{path}.message", message, "must not contain line breaks")
    elif _LINE_BREAK.search(rule.strip()) and not message.strip():
        yield required(f"{path}.message", "message must be specified if rule contains line breaks")
    expression = raw.get("messageExpression") or ""
    if expression and not expression.strip():
        yield required(f"{path}.messageExpression", "messageExpression must be non-empty if specified")
    reason = raw.get("reason")
    if reason is not None and reason not in _REASONS:
        yield not_supported(f"{path}.reason", reason, _REASONS)
    if field and not field.strip():
        yield invalid(f"{path}.fieldPath", field, "must be non-empty if specified")
    if _LINE_BREAK.search(field):
        yield invalid(f"{path}.fieldPath", field, "must not contain line breaks")
    if field and not _leads_somewhere(node, field):
        yield invalid(f"{path}.fieldPath", field, "must be a valid path")


def _leads_somewhere(node: Schema, text: str) -> bool:
    try:
        field_path(node, text)
    except ValueError:
        return False
    return True
