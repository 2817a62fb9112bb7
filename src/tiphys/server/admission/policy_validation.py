"""The expressions of one ValidatingAdmissionPolicy, and what they say about a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.api.cel import types as t
from tiphys.api.cel.environment import Budget
from tiphys.api.cel.kubernetes import MATCH_CONDITIONS_BUDGET, RUNTIME_BUDGET
from tiphys.api.policies.compiled import Conditions, OutOfBudget, PolicyError, Variables, compile_all
from tiphys.api.policies.environment import policy_environment, with_variables
from tiphys.api.resource import Json

_LONGEST_MESSAGE = 5 * 1024


@dataclass(slots=True)
class Outcome:
    """`failures` are the positions of validations with message and reason, `annotations` keys with values."""

    failures: list[tuple[int, tuple[str, str]]] = field(default_factory=list)
    annotations: list[tuple[str, str]] = field(default_factory=list)
    # Annotations that could not be computed; they deny whatever the binding's actions are.
    errors: list[str] = field(default_factory=list)


class Validator:
    def __init__(self, spec: Json) -> None:
        params = spec.get("paramKind") is not None
        plain = policy_environment(params=params)
        self._conditions = Conditions(spec.get("matchConditions") or (), plain)
        self._variables = Variables(spec.get("variables") or (), plain)
        env = self._variables.env
        fields = {name: each.type for name, each in self._variables.expressions.items()}
        message_env = with_variables(policy_environment(params=params, authorizer=False), fields)
        self._raws: list[Json] = spec.get("validations") or []
        self._validations = compile_all(self._raws, "expression", env, t.BOOL)
        self._messages = compile_all(self._raws, "messageExpression", message_env, t.STRING)
        self._annotations: list[Json] = spec.get("auditAnnotations") or []
        self._values = compile_all(self._annotations, "valueExpression", message_env, t.STRING, t.NULL)

    def validate(self, given: Mapping[str, Any], *, fails_open: bool) -> Outcome:
        """The outcome for one request and one parameter object; errors count as failures unless `fails_open`."""
        outcome = Outcome()
        budget = Budget(RUNTIME_BUDGET)
        bound = self._variables.bound(given, budget)
        try:
            if not self._conditions.hold(given, Budget(MATCH_CONDITIONS_BUDGET)):
                return outcome
            for index, expression in enumerate(self._validations):
                if expression is not None:
                    self._check(index, bound, budget, outcome, fails_open=fails_open)
            self._annotate(bound, outcome, fails_open=fails_open)
        except PolicyError as error:
            if not fails_open:
                outcome.failures.append((0, (str(error), "Invalid")))
        return outcome

    def _check(
        self, index: int, bound: Mapping[str, Any], budget: Budget, outcome: Outcome, *, fails_open: bool
    ) -> None:
        expression, raw = self._validations[index], self._raws[index]
        assert expression is not None
        try:
            if expression.evaluate(bound, budget) is True:
                return
        except OutOfBudget:
            raise
        except PolicyError as error:
            if not fails_open:
                outcome.failures.append((index, (str(error), "Invalid")))
            return
        message = self._computed(index, bound, budget) or str(raw.get("message") or "").strip()
        shown = message or f"failed expression: {expression.source.strip()}"
        outcome.failures.append((index, (shown, raw.get("reason") or "Invalid")))

    def _computed(self, index: int, bound: Mapping[str, Any], budget: Budget) -> str:
        expression = self._messages[index]
        if expression is None:
            return ""
        try:
            text = str(expression.evaluate(bound, budget)).strip()
        except OutOfBudget as error:
            raise PolicyError(f"failed messageExpression: {error}") from None
        except PolicyError:
            return ""
        return "" if "\n" in text or len(text.encode()) > _LONGEST_MESSAGE else text

    def _annotate(self, bound: Mapping[str, Any], outcome: Outcome, *, fails_open: bool) -> None:
        budget = Budget(RUNTIME_BUDGET)
        for raw, expression in zip(self._annotations, self._values, strict=True):
            if expression is None:
                continue
            try:
                value = expression.evaluate(bound, budget)
            except OutOfBudget:
                raise
            except PolicyError as error:
                if not fails_open:
                    outcome.errors.append(str(error))
                continue
            if value is not None and value.strip():
                outcome.annotations.append((raw["key"], value.strip()))
