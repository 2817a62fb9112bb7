"""The expressions of one MutatingAdmissionPolicy, and what they make of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.api.cel.environment import Budget
from tiphys.api.cel.kubernetes import MATCH_CONDITIONS_BUDGET, RUNTIME_BUDGET
from tiphys.api.policies.checks import PATCHES
from tiphys.api.policies.compiled import Conditions, Expression, PolicyError, Variables
from tiphys.api.policies.environment import policy_environment
from tiphys.api.policies.mutate import apply_configuration, json_patch
from tiphys.api.resource import Json
from tiphys.api.schema import Schema


class Mutator:
    def __init__(self, spec: Json) -> None:
        params = spec.get("paramKind") is not None
        self._conditions = Conditions(spec.get("matchConditions") or (), policy_environment(params=params))
        self._variables = Variables(spec.get("variables") or (), policy_environment(params=params, patches=True))
        self.mutations = [self._mutation(raw) for raw in spec.get("mutations") or ()]

    def _mutation(self, raw: Json) -> tuple[str, Expression]:
        kind = raw["patchType"]
        field, result = PATCHES[kind]
        return kind, Expression(raw[field]["expression"], self._variables.env, result)

    def wants(self, given: Mapping[str, Any]) -> bool:
        """Whether the conditions hold. Raises PolicyError."""
        return self._conditions.hold(given, Budget(MATCH_CONDITIONS_BUDGET))

    def mutate(self, index: int, given: Mapping[str, Any], schema: Schema | None) -> Json:
        """What one mutation makes of the `object` in the bindings. Raises PolicyError."""
        kind, expression = self.mutations[index]
        budget = Budget(RUNTIME_BUDGET)
        made = expression.evaluate(self._variables.bound(given, budget), budget)
        obj: Json = given["object"]
        if kind == "JSONPatch":
            return json_patch(obj, made)
        if not isinstance(made, dict):
            raise PolicyError(f"invalid return type: {type(made).__name__}")
        return apply_configuration(schema, obj, made)
