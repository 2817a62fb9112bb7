"""ValidatingAdmissionPolicy: expressions that refuse, warn about or note what is written.

Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/ and upstream's
`apiserver/pkg/admission/plugin/policy/validating/{dispatcher,validator}.go`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from tiphys.api import errors
from tiphys.api.registry import AnyResource, Registry
from tiphys.api.resource import Json
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.admission.conditions import bindings
from tiphys.server.admission.matching import Matching, exempt
from tiphys.server.admission.policy_set import Binding, ConfigurationError, Parameters, Policy, PolicySet, refused
from tiphys.server.authz import Authorizer
from tiphys.server.cache import Cache

if TYPE_CHECKING:
    from tiphys.server.admission.policy_validation import Validator

_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413}
_NOTED = "validation.policy.admission.k8s.io/validation_failure"
_MOST_NOTED, _LONGEST_NOTE = 50, 10 * 1024
# Authentication's and authorization's own questions are nobody else's.
UNASKED = ("authentication.k8s.io", "authorization.k8s.io")


class Denial(NamedTuple):
    policy: str
    binding: str
    message: str
    reason: str


def _compile(spec: Json) -> Validator:
    # Only a cluster that has policies loads the language.
    from tiphys.server.admission.policy_validation import Validator

    return Validator(spec)


class _Notes:
    """What one request leaves in the audit log: annotations by policy, and failures that only are noted."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.failures: list[Json] = []

    def add(self, key: str, value: str) -> None:
        found = self.values.setdefault(key, [])
        if value[:_LONGEST_NOTE] not in found:
            found.append(value[:_LONGEST_NOTE])

    def publish(self, attributes: Attributes) -> None:
        attributes.annotations.update({key: ", ".join(values) for key, values in self.values.items()})
        if self.failures:
            attributes.annotations[_NOTED] = orjson.dumps(self.failures[:_MOST_NOTED]).decode()


class ValidatingAdmissionPolicy(Plugin):
    """Judges requests; and when a policy itself is written, leaves in its status what its types say about it."""

    def __init__(self, cache: Cache, registry: Registry, matching: Matching, authorizer: Authorizer) -> None:
        self._registry = registry
        self._policies: PolicySet[Validator] = PolicySet(cache, "validatingadmission", _compile)
        self._parameters = Parameters(registry, cache)
        self._matching, self._authorizer = matching, authorizer

    async def validate(self, attributes: Attributes) -> None:
        policies = self._policies.current()
        if not policies or exempt(attributes) or attributes.resource.group in UNASKED:
            return
        await self._convert(policies, attributes)
        notes = _Notes()
        denials = [denial for policy in policies for denial in self._judge(policy, attributes, notes)]
        notes.publish(attributes)
        if denials:
            raise _refusal(attributes, denials[0])

    async def _convert(self, policies: Sequence[Policy[Validator]], attributes: Attributes) -> None:
        """Have a custom resource in the versions that the policies want to see."""
        if attributes.resource.structural is None:
            return
        for policy in policies:
            resource = self._matching.find(policy.criteria, attributes)
            if resource is not None:
                await attributes.convert_for(resource)

    async def reserve(self, attributes: Attributes) -> None:
        """Upstream's controller does this a moment later; here the status is true from the start."""
        obj = attributes.obj
        if obj is None or not attributes.is_for("admissionregistration.k8s.io", "validatingadmissionpolicies"):
            return
        from tiphys.server.admission.policy_types import expression_warnings

        status = {**(obj.get("status") or {}), "observedGeneration": obj["metadata"].get("generation", 1)}
        warnings = expression_warnings(obj["spec"], self._registry)
        obj["status"] = {**status, "typeChecking": {"expressionWarnings": warnings} if warnings else {}}

    def _judge(self, policy: Policy[Validator], attributes: Attributes, notes: _Notes) -> Iterator[Denial]:
        resource = self._matching.find(policy.criteria, attributes)
        if resource is None:
            return
        for binding in policy.bindings:
            if self._matching.find(binding.criteria, attributes) is None:
                continue
            try:
                kind = policy.spec.get("paramKind")
                parameters = self._parameters.find(kind, binding.param_ref, attributes.namespace)
            except ConfigurationError as error:
                if not policy.fails_open:
                    text = f"failed to configure binding: {error}"
                    yield Denial(policy.name, binding.name, text, "Invalid")
                continue
            given = self._bindings(attributes, resource)
            for parameter in parameters:
                bound = given if kind is None else {**given, "params": parameter}
                yield from _judged(policy, binding, bound, attributes, notes)

    def _bindings(self, attributes: Attributes, resource: AnyResource) -> dict[str, Any]:
        found = bindings(attributes, resource, self._authorizer)
        if attributes.namespace and not attributes.is_of("", "namespaces"):
            found["namespaceObject"] = namespace_object(self._matching, attributes)
        return found


def namespace_object(matching: Matching, attributes: Attributes) -> Json | None:
    """What expressions see of the namespace: no field managers."""
    found = matching.namespace(attributes)
    if found is not None:
        found["metadata"].pop("managedFields", None)
    return found


def _judged(
    policy: Policy[Validator], binding: Binding, bound: dict[str, Any], attributes: Attributes, notes: _Notes
) -> Iterator[Denial]:
    outcome = policy.compiled.validate(bound, fails_open=policy.fails_open)
    for index, (message, reason) in outcome.failures:
        for action in binding.actions:
            if action == "Deny":
                yield Denial(policy.name, binding.name, message, reason)
            elif action == "Warn":
                head = f"Validation failed for ValidatingAdmissionPolicy '{policy.name}' with binding '{binding.name}'"
                attributes.warnings.append(f"{head}: {message}")
            elif action == "Audit":
                notes.failures.append({
                    "message": message, "policy": policy.name, "binding": binding.name, "expressionIndex": index,
                    "validationActions": binding.actions,
                })  # fmt: skip
    for key, value in outcome.annotations:
        notes.add(f"{policy.name}/{key}", value)
    for message in outcome.errors:
        yield Denial(policy.name, binding.name, message, "Invalid")


def _refusal(attributes: Attributes, denial: Denial) -> errors.ApiError:
    head = f"ValidatingAdmissionPolicy '{denial.policy}' with binding '{denial.binding}' denied request"
    return refused(attributes, f"{head}: {denial.message}", denial.reason, _CODES.get(denial.reason, 422))
