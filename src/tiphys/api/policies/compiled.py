"""A policy's expressions, compiled: its conditions, its variables, and whatever it validates, annotates or mutates.

An expression that does not compile is kept with its error, since a stored policy must still be answered for.
Source: upstream's `apiserver/pkg/admission/plugin/cel/{composition,condition,activation}.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tiphys.api.cel import types as t
from tiphys.api.cel.environment import Budget, Environment, Program
from tiphys.api.cel.errors import CelError, CompileError, CostExceeded, EvalError
from tiphys.api.policies.environment import with_variables

OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


class PolicyError(CelError):
    """An expression of a policy that could not be evaluated; the text is upstream's."""


class OutOfBudget(PolicyError):
    """Nothing further of this policy can be evaluated."""


class Expression:
    """One expression. `error` says why it does not compile, empty where it does."""

    __slots__ = ("error", "program", "source")

    def __init__(self, source: str, env: Environment, *results: t.Type) -> None:
        self.source = source
        self.error = ""
        self.program: Program | None = None
        try:
            self.program = env.compile(source, *results)
        except CompileError as error:
            self.error = str(error)

    @property
    def type(self) -> t.Type:
        return self.program.type if self.program is not None else t.DYN

    def evaluate(self, bindings: Mapping[str, Any], budget: Budget) -> Any:
        """Its value. Raises PolicyError."""
        if self.program is None:
            raise PolicyError(f"compilation error: {self.error}")
        try:
            return self.program.evaluate(bindings, budget)
        except CostExceeded as error:
            if budget.left < 0:
                raise OutOfBudget(OUT_OF_BUDGET) from None
            raise PolicyError(f"expression '{self.source}' resulted in error: {error}") from None
        except EvalError as error:
            raise PolicyError(f"expression '{self.source}' resulted in error: {error}") from None


class Variables:
    """The `variables` of a policy, in order: each may use those before it."""

    def __init__(self, raws: Iterable[Mapping[str, Any]], env: Environment) -> None:
        self.expressions: dict[str, Expression] = {}
        fields: dict[str, t.Type] = {}
        self.env = with_variables(env, fields)
        for raw in raws:
            expression = Expression(raw.get("expression") or "", self.env)
            self.expressions[raw["name"]] = expression
            fields[raw["name"]] = expression.type
            self.env = with_variables(env, fields)

    def bound(self, bindings: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
        """The bindings with the variables, each computed when it is first used."""
        if not self.expressions:
            return {**bindings, "variables": {}}
        found = dict(bindings)
        found["variables"] = _Lazy(self.expressions, found, budget)
        return found


class _Lazy(dict[str, Any]):
    __slots__ = ("_bindings", "_budget", "_expressions", "_failures")

    def __init__(self, expressions: Mapping[str, Expression], bindings: Mapping[str, Any], budget: Budget) -> None:
        super().__init__()
        self._expressions, self._bindings, self._budget = expressions, bindings, budget
        self._failures: dict[str, str] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._expressions

    def __missing__(self, name: str) -> Any:
        if name in self._failures:
            raise EvalError(self._failures[name])
        if name not in self._expressions:
            raise KeyError(name)
        try:
            value = self[name] = self._expressions[name].evaluate(self._bindings, self._budget)
        except OutOfBudget:
            raise CostExceeded from None
        except PolicyError as error:
            failure = self._failures[name] = f'composited variable "{name}" fails to evaluate: {error}'
            raise EvalError(failure) from None
        return value


class Conditions:
    """matchConditions: all must hold."""

    def __init__(self, raws: Iterable[Mapping[str, Any]], env: Environment) -> None:
        self.expressions = [
            (raw.get("name") or "", Expression(raw.get("expression") or "", env, t.BOOL)) for raw in raws
        ]

    def hold(self, bindings: Mapping[str, Any], budget: Budget) -> bool:
        """Whether none is false. Raises PolicyError where none is, but some have no value."""
        failures: list[str] = []
        for _, expression in self.expressions:
            try:
                if expression.evaluate(bindings, budget) is False:
                    return False
            except OutOfBudget:
                raise
            except PolicyError as error:
                failures.append(str(error))
        if failures:
            unique = list(dict.fromkeys(failures))
            raise PolicyError(unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")
        return True


def compile_all(
    raws: Sequence[Mapping[str, Any]], field: str, env: Environment, *results: t.Type
) -> list[Expression | None]:
    """The expressions that `field` of each entry holds, None where it is empty."""
    return [Expression(raw[field], env, *results) if (raw.get(field) or "").strip() else None for raw in raws]
