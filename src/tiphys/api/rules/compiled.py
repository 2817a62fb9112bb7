"""Rules compiled against the schema that they stand in, and the shape of a schema that has rules in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.api.cel import types as t
from tiphys.api.cel.ast import Ident, Node
from tiphys.api.cel.decl import MAX_REQUEST, Decl, declare
from tiphys.api.cel.environment import Environment, Program
from tiphys.api.cel.errors import CompileError, TypeMismatch
from tiphys.api.cel.escaping import escape
from tiphys.api.cel.estimate import estimate
from tiphys.api.cel.kubernetes import environment
from tiphys.api.cel.validators import children
from tiphys.api.rules.paths import field_path
from tiphys.api.schema import Schema


class Rule:
    """One rule. `error` and `message_error` say what is wrong with it; `cost` is the most that one run can cost."""

    __slots__ = (
        "cost", "error", "message", "message_cost", "message_error", "optional_old", "path", "program", "raw",
        "uses_old",
    )  # fmt: skip

    def __init__(self, raw: Mapping[str, Any], schema: Schema, decl: Decl, env: Environment) -> None:
        self.raw = raw
        self.program: Program | None = None
        self.message: Program | None = None
        self.error = self.message_error = ""
        self.uses_old = False
        self.optional_old = bool(raw.get("optionalOldSelf"))
        self.cost = self.message_cost = 0
        self.path = _normal_path(schema, raw.get("fieldPath") or "")
        if (raw.get("rule") or "").strip():
            self._compile(decl, env)

    @property
    def shown(self) -> str:
        return str(self.raw.get("message") or self.raw.get("rule") or "").strip()

    def _compile(self, decl: Decl, env: Environment) -> None:
        try:
            self.program = env.compile(self.raw["rule"], t.BOOL)
        except TypeMismatch:
            self.error = "cel expression must evaluate to a bool"
            return
        except CompileError as error:
            self.error = str(error)
            return
        self.uses_old = uses(self.program.node, "oldSelf")
        self.cost = estimate(self.program.node, decl).most
        expression = self.raw.get("messageExpression") or ""
        if not expression:
            return
        try:
            self.message = env.compile(expression, t.STRING)
        except TypeMismatch:
            self.message_error = "messageExpression must evaluate to a string"
            return
        except CompileError as error:
            self.message_error = f"messageExpression {error}"
            return
        self.message_cost = estimate(self.message.node, decl).most


def _normal_path(schema: Schema, text: str) -> str:
    try:
        return field_path(schema, text) if text else ""
    except ValueError:
        return ""


def uses(node: Node, name: str) -> bool:
    """Whether an expression names a variable."""
    pending = [node]
    while pending:
        each = pending.pop()
        if isinstance(each, Ident) and each.name == name:
            return True
        pending.extend(children(each))
    return False


def compile_rules(raws: Sequence[Mapping[str, Any]], schema: Schema, decl: Decl) -> list[Rule]:
    """The rules of one schema, in order."""
    plain = environment({"self": decl.type, "oldSelf": decl.type})
    optional = environment({"self": decl.type, "oldSelf": t.optional_of(decl.type)})
    return [Rule(raw, schema, decl, optional if raw.get("optionalOldSelf") else plain) for raw in raws]


class RuleTree:
    """A schema reduced to where its rules are; `rules` are those of this node. Compiled when first visited."""

    __slots__ = ("_rules", "additional", "all_of", "decl", "items", "properties", "raws", "schema")

    def __init__(self, raws: Sequence[Mapping[str, Any]], schema: Schema, decl: Decl | None) -> None:
        self.raws, self.schema, self.decl = raws, schema, decl
        self._rules: list[Rule] | None = None
        self.properties: dict[str, RuleTree] = {}
        self.items: RuleTree | None = None
        self.additional: RuleTree | None = None
        self.all_of: list[RuleTree] = []

    @property
    def rules(self) -> list[Rule]:
        if self._rules is None:
            self._rules = [] if self.decl is None else compile_rules(self.raws, self.schema, self.decl)
        return self._rules

    def empty(self) -> bool:
        return not (self.raws or self.properties or self.items or self.additional or self.all_of)


def tree(schema: Schema, *, root: bool) -> RuleTree | None:
    """The tree of a whole schema, None where there are no rules."""
    return _tree(schema, schema, declare(schema, root=root))


def _tree(validation: Schema, schema: Schema, decl: Decl | None) -> RuleTree | None:
    """`validation` has the rules, `schema` the structure: they differ inside of `allOf`."""
    found = RuleTree(validation.rules, schema, decl)
    element = decl.element if decl is not None else None
    if validation.items is not None and schema.items is not None:
        found.items = _tree(validation.items, schema.items, element)
    if validation.additional is not None and schema.additional is not None:
        found.additional = _tree(validation.additional, schema.additional, element)
    for name, child in validation.properties.items():
        own = schema.properties.get(name)
        if own is None:
            continue
        inner = _tree(child, own, _field(decl, name, own))
        if inner is not None:
            found.properties[name] = inner
    for part in validation.limits.all_of if validation.limits is not None else ():
        inner = _tree(part, schema, decl)
        if inner is not None:
            found.all_of.append(inner)
    return None if found.empty() else found


def _field(decl: Decl | None, name: str, schema: Schema) -> Decl | None:
    identifier = escape(name)
    if identifier is None:
        return declare(schema, root=schema.embedded_resource)
    return decl.fields.get(identifier) if decl is not None else None


def cardinality(decl: Decl) -> int:
    """How often the schema can occur in one request, where nothing above bounds it."""
    return MAX_REQUEST // (decl.smallest + 1)
