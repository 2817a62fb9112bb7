"""Type checking of ValidatingAdmissionPolicies against the resources that they match: advice, left in their status.

Source: upstream's `apiserver/pkg/admission/plugin/policy/validating/typechecking.go`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.cel import types as t
from tiphys.api.cel.decl import declare
from tiphys.api.policies.compiled import Expression, Variables
from tiphys.api.policies.environment import policy_environment
from tiphys.api.registry import AnyResource, Registry
from tiphys.api.resource import Json
from tiphys.server import objects

_MOST = 10


def expression_warnings(spec: Json, registry: Registry) -> list[Json]:
    """The `status.typeChecking.expressionWarnings` of a policy: what cannot be right for a kind that it matches."""
    kinds = [(resource, _type(resource)) for resource in _matched(spec, registry)]
    environments = [
        (f"{resource.group}/{resource.version}, Kind={resource.kind}", _environment(spec, registry, kind))
        for resource, kind in kinds
        if kind is not None
    ]
    found: list[Json] = []
    for index, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            source = validation.get(field)
            problems = [
                f"{name}: {error}\n"
                for name, variables in environments
                if source and (error := Expression(source, variables.env).error)
            ]
            if problems:
                found.append({"fieldRef": f"spec.validations[{index}].{field}", "warning": "\n".join(problems)})
    return found


def _environment(spec: Json, registry: Registry, kind: t.Type) -> Variables:
    parameter = spec.get("paramKind")
    env = policy_environment(params=parameter is not None, objects=kind)
    if parameter is not None:
        group, _, version = (parameter.get("apiVersion") or "").rpartition("/")
        resource = registry.kind(group, version, parameter.get("kind") or "")
        known = _type(resource) if resource is not None else None
        if known is not None:
            env = env.extend({"params": known})
    return Variables(spec.get("variables") or (), env)


def _matched(spec: Json, registry: Registry) -> list[AnyResource]:
    found: dict[tuple[str, str, str], AnyResource] = {}
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        for resource in _of_rule(rule, registry):
            found[resource.group, resource.version, resource.kind] = resource
            if len(found) == _MOST:
                break
    return [found[key] for key in sorted(found)]


def _of_rule(rule: Json, registry: Registry) -> Iterator[AnyResource]:
    groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
    if any("*" in each for each in (*groups, *versions)):
        return
    for group in sorted(groups):
        for version in sorted(versions):
            for plural in sorted(rule.get("resources") or ()):
                resource = None if "*" in plural or "/" in plural else registry.get(group, version, plural)
                if resource is not None:
                    yield resource


def _type(resource: AnyResource) -> t.Type | None:
    schema = objects.schema_of(resource)
    try:
        declared = declare(schema, name=resource.kind)
    except RecursionError:
        # A type that contains itself has no type in the language.
        return None
    return declared.type if declared is not None else None
