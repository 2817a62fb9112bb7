"""Validation of a ResourceQuota's spec. Source: upstream's `ValidateResourceQuotaSpec`."""

from __future__ import annotations

from tiphys.api.errors import invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors
from tiphys.kinds.core.resource_validation import check_amounts, check_quota_name, is_quota_resource

SCOPES = (
    "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating",
    "VolumeAttributesClass",
)  # fmt: skip
_COMPUTE = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
_STORAGE = ("persistentvolumeclaims", "requests.storage")
_ONLY_EXISTS = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_EXISTS_RULE = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)
_CONFLICTS = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})


def check_quota(spec: Json) -> Errors:
    yield from check_amounts(spec.get("hard") or {}, "spec.hard", check_quota_name)
    scopes = spec.get("scopes") or []
    if scopes:
        yield from _check_scopes(scopes, spec)
    selector = spec.get("scopeSelector")
    if selector is not None:
        yield from _check_selector(selector, spec)


def _unfit(scope: str, spec: Json) -> list[str]:
    """The resources of the quota that cannot be counted within a scope."""
    fit: tuple[str, ...]
    if scope == "BestEffort":
        fit = ("pods",)
    elif scope == "VolumeAttributesClass":
        fit = _STORAGE
    else:
        fit = ("pods", *_COMPUTE) if scope in SCOPES else ()
    # Any scope but one that nobody knows leaves resources of other domains alone.
    return [name for name in sorted(spec.get("hard") or ()) if is_quota_resource(name) and name not in fit]


def _check_scopes(scopes: list[str], spec: Json) -> Errors:
    for scope in scopes:
        if scope not in SCOPES:
            yield invalid("spec.scopes", scopes, "unsupported scope")
        for _ in _unfit(scope, spec):
            yield invalid("spec.scopes", scopes, "unsupported scope applied to resource")
    for pair in _CONFLICTS:
        if pair <= set(scopes):
            yield invalid("spec.scopes", scopes, "conflicting scopes")


def _check_selector(selector: Json, spec: Json) -> Errors:
    path, seen = "spec.scopeSelector.matchExpressions", set()
    for requirement in selector.get("matchExpressions") or ():
        scope, operator = requirement.get("scopeName") or "", requirement.get("operator") or ""
        values = requirement.get("values") or []
        seen.add(scope)
        if scope not in SCOPES:
            yield invalid(f"{path}.scopeName", scope, "unsupported scope")
        for _ in _unfit(scope, spec):
            yield invalid(path, selector, "unsupported scope applied to resource")
        if scope in _ONLY_EXISTS and operator != "Exists":
            yield invalid(f"{path}.operator", operator, _EXISTS_RULE)
        if operator in ("In", "NotIn"):
            if not values:
                rule = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                yield required(f"{path}.values", rule)
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                rule = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                yield invalid(f"{path}.values", values, rule)
        else:
            yield invalid(f"{path}.operator", operator, "not a valid selector operator")
    for pair in _CONFLICTS:
        if pair <= seen:
            yield invalid("spec.scopes", spec.get("scopes"), "conflicting scopes")
