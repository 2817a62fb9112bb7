"""MutatingAdmissionPolicy: expressions that change what is written.

Source: https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/ and upstream's
`apiserver/pkg/admission/plugin/policy/mutating/dispatcher.go`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

from tiphys.api import errors
from tiphys.api.registry import AnyResource, Registry
from tiphys.api.resource import Json
from tiphys.server import objects
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.admission.conditions import bindings
from tiphys.server.admission.matching import Matching, exempt
from tiphys.server.admission.mutation import Rounds, take
from tiphys.server.admission.plugins.validating_policy import UNASKED, namespace_object
from tiphys.server.admission.policy_set import Binding, ConfigurationError, Parameters, Policy, PolicySet
from tiphys.server.authz import Authorizer
from tiphys.server.cache import Cache

if TYPE_CHECKING:
    from tiphys.server.admission.policy_mutation import Mutator

_STATE = "MutatingAdmissionPolicy"


class _Invocation(NamedTuple):
    """One policy for one binding and one parameter object, which is None where the policy has none."""

    policy: Policy[Mutator]
    binding: Binding
    resource: AnyResource
    parameter: Json | None

    @property
    def key(self) -> Hashable:
        meta = (self.parameter or {}).get("metadata") or {}
        return self.policy.name, self.binding.name, meta.get("namespace", ""), meta.get("name", "")


def _compile(spec: Json) -> Mutator:
    # Only a cluster that has policies loads the language.
    from tiphys.server.admission.policy_mutation import Mutator

    return Mutator(spec)


class MutatingAdmissionPolicy(Plugin):
    def __init__(self, cache: Cache, registry: Registry, matching: Matching, authorizer: Authorizer) -> None:
        self._policies: PolicySet[Mutator] = PolicySet(cache, "mutatingadmission", _compile)
        self._parameters = Parameters(registry, cache)
        self._matching, self._authorizer = matching, authorizer

    async def admit(self, attributes: Attributes) -> None:
        policies = self._policies.current()
        if not policies or exempt(attributes) or attributes.resource.group in UNASKED:
            return
        failures: list[str] = []
        invocations = [each for policy in policies for each in self._invocations(policy, attributes, failures)]
        rounds = Rounds.of(attributes, _STATE)
        for invocation in invocations:
            await self._invoke(invocation, attributes, rounds, failures)
        rounds.done(attributes)
        if failures:
            raise _refusal(attributes, failures)

    def _invocations(self, policy: Policy[Mutator], attributes: Attributes, failures: list[str]) -> list[_Invocation]:
        resource = self._matching.find(policy.criteria, attributes)
        found: list[_Invocation] = []
        for binding in policy.bindings if resource is not None else ():
            if resource is None or self._matching.find(binding.criteria, attributes) is None:
                continue
            try:
                kind = policy.spec.get("paramKind")
                parameters = self._parameters.find(kind, binding.param_ref, attributes.namespace)
            except ConfigurationError as error:
                if not policy.fails_open:
                    failures.append(_denial(policy, binding, error))
                continue
            found += [_Invocation(policy, binding, resource, parameter) for parameter in parameters]
        return found

    async def _invoke(
        self, invocation: _Invocation, attributes: Attributes, rounds: Rounds, failures: list[str]
    ) -> None:
        # An ImportError of the language is no failure of a policy, so this is not part of the module's head.
        from tiphys.api.policies.compiled import PolicyError

        policy = invocation.policy
        await attributes.convert_for(invocation.resource)
        try:
            if not policy.compiled.wants(self._bindings(invocation, attributes)):
                return
        except PolicyError as error:
            if not policy.fails_open:
                failures.append(_denial(policy, invocation.binding, error))
            return
        if not rounds.due(invocation.key, attributes):
            return
        changed = False
        for index in range(len(policy.compiled.mutations) if attributes.obj is not None else 0):
            try:
                changed = await self._mutate(invocation, index, attributes) or changed
            except PolicyError as error:
                if not policy.fails_open:
                    failures.append(_denial(policy, invocation.binding, error))
        again = policy.spec.get("reinvocationPolicy") == "IfNeeded"
        rounds.took(invocation.key, attributes, changed=changed, reinvoke=again)

    async def _mutate(self, invocation: _Invocation, index: int, attributes: Attributes) -> bool:
        await attributes.convert_for(invocation.resource)
        given = self._bindings(invocation, attributes)
        schema = objects.schema_of(invocation.resource) if attributes.shape is None else None
        new = invocation.policy.compiled.mutate(index, given, schema)
        if new == given["object"]:
            return False
        await take(attributes, invocation.resource, new)
        return True

    def _bindings(self, invocation: _Invocation, attributes: Attributes) -> dict[str, Any]:
        found = bindings(attributes, invocation.resource, self._authorizer)
        if attributes.namespace and not attributes.is_of("", "namespaces"):
            found["namespaceObject"] = namespace_object(self._matching, attributes)
        if invocation.policy.spec.get("paramKind") is not None:
            found["params"] = invocation.parameter
        return found


def _denial(policy: Policy[Mutator], binding: Binding, error: Exception) -> str:
    return f"policy '{policy.name}' with binding '{binding.name}' denied request: {error}"


def _refusal(attributes: Attributes, failures: list[str]) -> errors.ApiError:
    resource = attributes.resource
    error = errors.denied(resource.group, resource.plural, attributes.name, "admission request denied by policy")
    error.message, error.args = failures[0], (failures[0],)
    error.reason = "Invalid"
    error.details["causes"] = [{"message": message} for message in failures]
    return error
