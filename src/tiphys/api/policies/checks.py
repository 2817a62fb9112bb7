"""What is wrong with the expressions of policies and match conditions, for the validation of their kinds.

Source: upstream's `pkg/apis/admissionregistration/validation/validation.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tiphys.api import names
from tiphys.api.cel import types as t
from tiphys.api.cel.environment import Environment
from tiphys.api.cel.errors import CompileError
from tiphys.api.cel.library.mutation import JSON_PATCH, OBJECT
from tiphys.api.errors import FieldError, duplicate, invalid, required
from tiphys.api.policies.compiled import Expression
from tiphys.api.policies.environment import policy_environment, with_variables

Json = Mapping[str, Any]
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_CONDITIONS = 64


def check_conditions(raws: Sequence[Json] | None, path: str, *, params: bool = False) -> Iterator[FieldError]:
    """The matchConditions of a webhook or policy."""
    if not raws:
        return
    if len(raws) > _MOST_CONDITIONS:
        yield FieldError(
            path, "FieldValueTooMany", f"Too many: {len(raws)}: must have at most {_MOST_CONDITIONS} items"
        )
        return
    env = policy_environment(params=params)
    seen: set[str] = set()
    for index, raw in enumerate(raws):
        where, name = f"{path}[{index}]", raw.get("name") or ""
        yield from _expression(raw, f"{where}.expression", env, t.BOOL)
        if not name:
            yield required(f"{where}.name")
        else:
            yield from (invalid(f"{where}.name", name, each) for each in names.qualified_name(name))
        if name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)


def _expression(
    raw: Json, path: str, env: Environment, *results: t.Type, field: str = "expression"
) -> Iterator[FieldError]:
    source = raw.get(field) or ""
    if not source.strip():
        yield required(path)
        return
    try:
        env.compile(source, *results)
    except CompileError as error:
        yield invalid(path, source, str(error))


class PolicyExpressions:
    """Checks the parts of one policy in order, since later ones use the variables of earlier ones."""

    def __init__(self, spec: Json, *, patches: bool = False) -> None:
        self._spec = spec
        self._params = bool(spec.get("paramKind"))
        self._fields: dict[str, t.Type] = {}
        self._patches = patches

    def check(self) -> Iterator[FieldError]:
        yield from check_conditions(self._spec.get("matchConditions"), "spec.matchConditions", params=self._params)
        yield from self._variables()
        if self._patches:
            yield from self._mutations()
            return
        yield from self._validations()
        yield from self._annotations()

    def _env(self, *, authorizer: bool = True) -> Environment:
        plain = policy_environment(params=self._params, authorizer=authorizer, patches=self._patches)
        return with_variables(plain, self._fields)

    def _variables(self) -> Iterator[FieldError]:
        for index, raw in enumerate(self._spec.get("variables") or ()):
            where, name = f"spec.variables[{index}]", raw.get("name") or ""
            if not name:
                yield required(f"{where}.name", "name is not specified")
            elif _IDENTIFIER.fullmatch(name) is None:
                yield invalid(f"{where}.name", name, "name is not a valid CEL identifier")
            if name in self._fields:
                yield duplicate(f"{where}.name", name)
            source = raw.get("expression") or ""
            if not source.strip():
                yield required(f"{where}.expression", "expression is not specified")
                continue
            expression = Expression(source, self._env())
            if expression.error:
                yield invalid(f"{where}.expression", source, expression.error)
            self._fields[name] = expression.type

    def _validations(self) -> Iterator[FieldError]:
        for index, raw in enumerate(self._spec.get("validations") or ()):
            where = f"spec.validations[{index}]"
            source, message = (raw.get("expression") or "").strip(), raw.get("message") or ""
            if not source:
                yield required(f"{where}.expression", "expression is not specified")
            else:
                yield from _expression(raw, f"{where}.expression", self._env(), t.BOOL)
            if message and not message.strip():
                yield invalid(f"{where}.message", message, "message must be non-empty if specified")
            elif "\n" in message.strip():
                yield invalid(f"{where}.message", message, "message must not contain line breaks")
            elif "\n" in source and not message.strip():
                yield required(f"{where}.message", "message must be specified if expression contains line breaks")
            if raw.get("messageExpression"):
                env = self._env(authorizer=False)
                yield from _expression(raw, f"{where}.messageExpression", env, t.STRING, field="messageExpression")
            yield from _reason(raw, f"{where}.reason")

    def _annotations(self) -> Iterator[FieldError]:
        seen: set[str] = set()
        for index, raw in enumerate(self._spec.get("auditAnnotations") or ()):
            where, key = f"spec.auditAnnotations[{index}]", raw.get("key") or ""
            if not key:
                yield required(f"{where}.key")
            elif key in seen:
                yield duplicate(f"{where}.key", key)
            seen.add(key)
            if not (raw.get("valueExpression") or "").strip():
                yield required(f"{where}.valueExpression", "valueExpression is not specified")
                continue
            env = self._env(authorizer=False)
            path = f"{where}.valueExpression"
            yield from _expression(raw, path, env, t.STRING, t.NULL, field="valueExpression")

    def _mutations(self) -> Iterator[FieldError]:
        mutations = self._spec.get("mutations") or ()
        if not mutations:
            yield required("spec.mutations")
        for index, raw in enumerate(mutations):
            where, kind = f"spec.mutations[{index}]", raw.get("patchType")
            field, result = PATCHES.get(kind or "", ("", t.DYN))
            if not field:
                allowed = '"ApplyConfiguration", "JSONPatch"'
                text = f'Unsupported value: "{kind}": supported values: {allowed}'
                yield (
                    FieldError(f"{where}.patchType", "FieldValueNotSupported", text)
                    if kind
                    else required(f"{where}.patchType")
                )
                continue
            part = raw.get(field)
            if part is None:
                yield required(f"{where}.{field}", f"must be specified when patchType is {kind}")
            elif not (part.get("expression") or "").strip():
                yield required(f"{where}.{field}.expression", "expression is not specified")
            else:
                yield from _expression(part, f"{where}.{field}.expression", self._env(), result)


# By patchType: the field that holds the expression, and the type that it must have.
PATCHES: dict[str, tuple[str, t.Type]] = {
    "ApplyConfiguration": ("applyConfiguration", OBJECT), "JSONPatch": ("jsonPatch", t.list_of(JSON_PATCH)),
}  # fmt: skip
_REASONS = ("Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge")


def _reason(raw: Json, path: str) -> Iterator[FieldError]:
    reason = raw.get("reason")
    if reason and reason not in _REASONS:
        allowed = ", ".join(f'"{each}"' for each in sorted(_REASONS))
        yield FieldError(path, "FieldValueNotSupported", f'Unsupported value: "{reason}": supported values: {allowed}')
