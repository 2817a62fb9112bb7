"""Defaults and validation of webhook configurations and admission policies.

Source: upstream's `pkg/apis/admissionregistration/v1/defaults.go` and `.../validation/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, duplicate, forbidden, invalid, required
from tiphys.api.resource import Json
from tiphys.kinds.admissionregistration.rules import check_rules
from tiphys.kinds.checks import Errors, has, label_selector, one_of
from tiphys.kinds.columns import AGE, NAME, UNSET, at, column
from tiphys.kinds.fields import dig, put_default, put_text
from tiphys.kinds.strategy import KindStrategy, StatusStrategy
from tiphys.kinds.webhook_client_config import check_client_config, check_review_versions

_SELECTORS = ("namespaceSelector", "objectSelector")


class WebhookStrategy(KindStrategy):
    """MutatingWebhookConfiguration and ValidatingWebhookConfiguration."""

    def __init__(self, *, mutating: bool) -> None:
        self.mutating = mutating

    def default(self, new: Json) -> None:
        for webhook in new.get("webhooks") or ():
            put_text(webhook, "failurePolicy", "Fail")
            put_text(webhook, "matchPolicy", "Equivalent")
            put_default(webhook, "timeoutSeconds", 10)
            for name in _SELECTORS:
                put_default(webhook, name, {})
            if self.mutating:
                put_text(webhook, "reinvocationPolicy", "Never")
            service = dig(webhook, "clientConfig", "service")
            if service:
                put_default(service, "port", 443)
            _default_rules(webhook.get("rules"))

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        seen: set[str] = set()
        for index, webhook in enumerate(new.get("webhooks") or ()):
            where, name = f"webhooks[{index}]", webhook.get("name") or ""
            if name in seen:
                yield duplicate(f"{where}.name", name)
            seen.add(name)
            yield from _check_webhook(webhook, where)


def _default_rules(rules: list[Json] | None) -> None:
    for rule in rules or ():
        put_text(rule, "scope", "*")


def _check_webhook(webhook: Json, path: str) -> Errors:
    name = webhook.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    elif problems := names.dns1123_subdomain(name):
        yield from (invalid(f"{path}.name", name, problem) for problem in problems)
    elif name.count(".") < 2:
        yield invalid(f"{path}.name", name, "should be a domain with at least three segments separated by dots")
    yield from check_review_versions(webhook.get("admissionReviewVersions"), f"{path}.admissionReviewVersions")
    if not webhook.get("sideEffects"):
        yield required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
    yield from one_of(webhook, path, "sideEffects", ("None", "NoneOnDryRun"))
    yield from one_of(webhook, path, "failurePolicy", ("Fail", "Ignore"))
    yield from one_of(webhook, path, "matchPolicy", ("Equivalent", "Exact"))
    yield from one_of(webhook, path, "reinvocationPolicy", ("IfNeeded", "Never"))
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        yield invalid(f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
    for selector in _SELECTORS:
        yield from label_selector(webhook.get(selector), f"{path}.{selector}")
    if webhook.get("matchConditions"):
        from tiphys.api.policies.checks import check_conditions  # a language that few need

        yield from check_conditions(webhook["matchConditions"], f"{path}.matchConditions")
    yield from check_client_config(webhook.get("clientConfig") or {}, f"{path}.clientConfig")
    yield from check_rules(webhook.get("rules"), f"{path}.rules")
    if webhook.get("matchConditions"):
        # Only what has expressions loads their language.
        from tiphys.api.policies.checks import check_conditions

        yield from check_conditions(webhook["matchConditions"], f"{path}.matchConditions")


class PolicyStrategy(StatusStrategy):
    """MutatingAdmissionPolicy and ValidatingAdmissionPolicy."""

    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        put_text(spec, "failurePolicy", "Fail")
        _default_match(spec.get("matchConstraints"))

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        yield from one_of(spec, "spec", "failurePolicy", ("Fail", "Ignore"))
        yield from has(spec, "spec", "matchConstraints")
        match = spec.get("matchConstraints") or {}
        yield from check_rules(match.get("resourceRules"), "spec.matchConstraints.resourceRules")
        if spec.get("paramKind") is not None:
            yield from has(spec["paramKind"], "spec.paramKind", "apiVersion", "kind")
        mutating = new.get("kind") == "MutatingAdmissionPolicy"
        if not mutating and not (spec.get("validations") or spec.get("auditAnnotations")):
            yield required("spec.validations", "validations or auditAnnotations must be non-empty")
        if old is None or spec != old.get("spec"):
            # Only what has expressions loads their language.
            from tiphys.api.policies.checks import PolicyExpressions

            yield from PolicyExpressions(spec, patches=mutating).check()


def _default_match(match: Json | None) -> None:
    if match is not None:
        put_text(match, "matchPolicy", "Equivalent")
        for name in _SELECTORS:
            put_default(match, name, {})
        _default_rules(match.get("resourceRules"))
        _default_rules(match.get("excludeResourceRules"))


class PolicyBindingStrategy(KindStrategy):
    """MutatingAdmissionPolicyBinding and ValidatingAdmissionPolicyBinding."""

    def default(self, new: Json) -> None:
        _default_match(dig(new, "spec", "matchResources"))

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        yield from has(spec, "spec", "policyName")
        if new.get("kind") == "ValidatingAdmissionPolicyBinding":
            yield from has(spec, "spec", "validationActions")
            for action in spec.get("validationActions") or ():
                yield from one_of({"action": action}, "spec.validationActions", "action", ("Audit", "Deny", "Warn"))
            yield from _check_actions(spec.get("validationActions") or [])
        if spec.get("paramRef") is not None:
            yield from _check_reference(spec["paramRef"], "spec.paramRef")


def _check_actions(actions: list[str]) -> Errors:
    for index, action in enumerate(actions):
        if action in actions[:index]:
            yield duplicate(f"spec.validationActions[{index}]", action)
    if {"Deny", "Warn"} <= set(actions):
        why = "repeating the same validation failure information in the API response and headers serves no purpose"
        yield invalid("spec.validationActions", actions, f"must not contain both Deny and Warn ({why})")


def _check_reference(reference: Json, path: str) -> Errors:
    name, selector = reference.get("name"), reference.get("selector")
    if name and selector is not None:
        for field in ("name", "selector"):
            yield forbidden(f"{path}.{field}", "name and selector are mutually exclusive")
    elif not name and selector is None:
        yield required(path, "one of name or selector must be specified")
    yield from label_selector(selector, f"{path}.selector")
    yield from has(reference, path, "parameterNotFoundAction")
    yield from one_of(reference, path, "parameterNotFoundAction", ("Allow", "Deny"))


def _param_kind(obj: Json) -> str:
    kind = dig(obj, "spec", "paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET


def _param_ref(obj: Json) -> str:
    reference = dig(obj, "spec", "paramRef")
    if not reference:
        return UNSET
    parts = (reference.get("namespace") or "*", reference.get("name") or "*")
    return "/".join(parts)


PARAM_KIND = column("ParamKind", _param_kind)
BINDING_COLUMNS = (NAME, at("PolicyName", "spec", "policyName"), column("ParamRef", _param_ref), AGE)
