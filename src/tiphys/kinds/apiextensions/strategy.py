"""Defaults and validation of CustomResourceDefinitions; the schemas in them are compiled, and refused, by the server.

Source: upstream's `apiextensions-apiserver/pkg/apis/apiextensions/{v1/defaults.go,validation/validation.go}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tiphys.api import names
from tiphys.api.errors import FieldError, duplicate, invalid, required
from tiphys.api.resource import Json
from tiphys.api.rules import has_rules
from tiphys.api.schema import from_openapi_v3
from tiphys.kinds.checks import Errors, follows, has, immutable, one_of
from tiphys.kinds.fields import dig, put_default, put_text
from tiphys.kinds.strategy import StatusStrategy

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


def unmarked(definition: Json) -> list[str]:
    """What holds a definition that nobody deleted yet: its deletion begins with a wait for its objects."""
    return [] if dig(definition, "metadata", "deletionTimestamp") else [CLEANUP]


class CrdStrategy(StatusStrategy):
    """`status.storedVersions` remembers every version that objects may be stored in."""

    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        put_text(spec, "scope", "Namespaced")
        crd_names = spec.setdefault("names", {})
        kind = crd_names.get("kind") or ""
        if kind:
            put_text(crd_names, "singular", kind.lower())
            put_text(crd_names, "listKind", f"{kind}List")
        conversion = spec.setdefault("conversion", {})
        put_text(conversion, "strategy", "None")
        service = dig(conversion, "webhook", "clientConfig", "service")
        if service:
            put_default(service, "port", 443)

    def prepare(self, new: Json, old: Json | None) -> None:
        versions = dig(new, "spec", "versions") or ()
        stored = [version.get("name", "") for version in versions if version.get("storage")]
        if old is None:
            new["status"] = {"storedVersions": stored}
            return
        begin_deletion(new, old)
        status = new.get("status") or {}
        missing = [name for name in stored if name not in (status.get("storedVersions") or ())]
        if missing:
            new["status"] = {**status, "storedVersions": [*(status.get("storedVersions") or ()), *missing]}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec, name = new.get("spec") or {}, dig(new, "metadata", "name") or ""
        crd_names = spec.get("names") or {}
        expected = f"{crd_names.get('plural') or ''}.{spec.get('group') or ''}"
        if name != expected:
            yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
        yield from _check_group(spec.get("group") or "")
        yield from one_of(spec, "spec", "scope", ("Cluster", "Namespaced"))
        yield from _check_names(crd_names)
        yield from _check_versions(spec.get("versions") or [])
        yield from _check_conversion(spec.get("conversion") or {})
        yield from _check_rules(spec.get("versions") or [], dig(old or {}, "spec", "versions") or [])
        if old is not None:
            yield from immutable(new, old, "spec.group", "spec.scope", "spec.names.plural", "spec.names.kind")


def begin_deletion(new: Json, old: Json) -> None:
    """A definition about to be deleted waits for its objects."""
    meta = new["metadata"]
    if not meta.get("deletionTimestamp") or dig(old, "metadata", "deletionTimestamp"):
        return
    meta["finalizers"] = [name for name in meta.get("finalizers") or () if name != CLEANUP] + [CLEANUP]
    status = new["status"] = {**(new.get("status") or {})}
    told = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    condition = {
        "type": "Terminating", "status": "True", "reason": "InstanceDeletionPending", "message": told,
        "lastTransitionTime": meta["deletionTimestamp"],
    }  # fmt: skip
    conditions = [each for each in status.get("conditions") or () if each["type"] != "Terminating"]
    status["conditions"] = [*conditions, condition]


def _check_group(group: str) -> Errors:
    if not group:
        yield required("spec.group")
        return
    yield from follows(group, "spec.group", names.dns1123_subdomain)
    if "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")


def _check_names(crd_names: Json) -> Errors:
    for field in ("plural", "singular", "kind", "listKind"):
        value = crd_names.get(field) or ""
        if not value:
            yield required(f"spec.names.{field}")
        else:
            yield from follows(value.lower(), f"spec.names.{field}", names.dns1035_label)
    if crd_names.get("kind") and crd_names.get("kind") == crd_names.get("listKind"):
        yield invalid("spec.names.listKind", crd_names["listKind"], "kind and listKind may not be the same")
    for field in ("shortNames", "categories"):
        for index, value in enumerate(crd_names.get(field) or ()):
            yield from follows(value, f"spec.names.{field}[{index}]", names.dns1035_label)


def _check_versions(versions: list[Json]) -> Errors:
    if not versions:
        yield required("spec.versions", "must have at least one version")
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        where, name = f"spec.versions[{index}]", version.get("name") or ""
        yield from follows(name, f"{where}.name", names.dns1035_label)
        if name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)
        if dig(version, "schema", "openAPIV3Schema") is None:
            yield required(f"{where}.schema.openAPIV3Schema", "schemas are required")
        elif dig(version, "schema", "openAPIV3Schema", "type") != "object":
            kind = dig(version, "schema", "openAPIV3Schema", "type") or ""
            yield invalid(f"{where}.schema.openAPIV3Schema.type", kind, "must be object at the root")
        for position, column in enumerate(version.get("additionalPrinterColumns") or ()):
            yield from has(column, f"{where}.additionalPrinterColumns[{position}]", "name", "type", "jsonPath")
    if sum(1 for version in versions if version.get("storage")) != 1:
        yield invalid("spec.versions", versions, "must have exactly one version marked as storage version")


def _check_rules(versions: list[Json], old: list[Json]) -> Errors:
    """Validation rules. Versions that share one schema have it, for upstream's errors, beside them."""
    raws = [dig(version, "schema", "openAPIV3Schema") for version in versions]
    shared = all(raw == raws[0] for raw in raws)
    for index, raw in enumerate(raws[:1] if shared else raws):
        path = "spec.validation.openAPIV3Schema" if shared else f"spec.versions[{index}].schema.openAPIV3Schema"
        if not isinstance(raw, dict) or any(raw == dig(each, "schema", "openAPIV3Schema") for each in old):
            continue
        try:
            schema = from_openapi_v3(raw)
        except (ValueError, TypeError, AttributeError, re.error):
            continue
        if has_rules(schema):
            # Only definitions that have rules load the language.
            from tiphys.api.rules.checks import check_rules

            yield from check_rules(schema, path)


def _check_conversion(conversion: Json) -> Errors:
    yield from one_of(conversion, "spec.conversion", "strategy", ("None", "Webhook"))
    if conversion.get("strategy") == "Webhook":
        webhook = conversion.get("webhook")
        if webhook is None:
            yield required("spec.conversion.webhook.clientConfig", "required when strategy is set to Webhook")
        else:
            yield from has(webhook, "spec.conversion.webhook", "clientConfig", "conversionReviewVersions")
