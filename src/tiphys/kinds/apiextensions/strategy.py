"""Defaults and validation of CustomResourceDefinitions.

What an update leaves as it was is not judged again. Source: upstream's
`apiextensions-apiserver/pkg/apis/apiextensions/{v1/defaults.go,validation/validation.go}`.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api import check, facts, formats
from tiphys.api.approval import APPROVED, approval_state, is_protected
from tiphys.api.custom_schema import from_openapi_v3
from tiphys.api.errors import BadRequest, FieldError, invalid, required
from tiphys.api.resource import Json
from tiphys.api.rules import has_rules
from tiphys.kinds.apiextensions import spec as parts
from tiphys.kinds.apiextensions.conversion import check_conversion
from tiphys.kinds.apiextensions.default_values import check_defaults
from tiphys.kinds.apiextensions.schemas import check_root, check_schema
from tiphys.kinds.apiextensions.structural import check_structural, children, unconvertible
from tiphys.kinds.checks import Errors, immutable
from tiphys.kinds.fields import dig, put_default, put_text
from tiphys.kinds.strategy import StatusStrategy

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_RULES = ".x-kubernetes-validations"
_PROPS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"


def unmarked(definition: Json) -> list[str]:
    """What holds a definition that nobody deleted yet: its deletion begins with a wait for its objects."""
    return [] if dig(definition, "metadata", "deletionTimestamp") else [CLEANUP]


class CrdStrategy(StatusStrategy):
    """`status.storedVersions` remembers every version that objects may be stored in."""

    def default(self, new: Json) -> None:
        spec = new.setdefault("spec", {})
        crd_names = spec.setdefault("names", {})
        kind = crd_names.get("kind") or ""
        if kind:
            put_text(crd_names, "singular", kind.lower())
            put_text(crd_names, "listKind", f"{kind}List")
        put_default(spec, "conversion", {"strategy": "None"})
        service = dig(spec, "conversion", "webhook", "clientConfig", "service")
        if service:
            put_default(service, "port", 443)
        for version in spec.get("versions") or ():
            schema = dig(version, "schema", "openAPIV3Schema")
            if isinstance(schema, dict):
                _decode_inner(schema)

    def prepare(self, new: Json, old: Json | None) -> None:
        versions = dig(new, "spec", "versions") or ()
        stored = [version.get("name", "") for version in versions if version.get("storage")]
        if old is None:
            new["status"] = {"storedVersions": stored[:1]}
            return
        begin_deletion(new, old)
        status = new.get("status") or {}
        missing = [name for name in stored[:1] if name not in (status.get("storedVersions") or ())]
        if missing and new.get("spec") != old.get("spec"):
            new["status"] = {**status, "storedVersions": [*(status.get("storedVersions") or ()), *missing]}

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        accepted = dig(new, "status", "acceptedNames") or {}
        if old is None or spec != old.get("spec"):
            yield from _check_spec(spec, dig(new, "metadata", "name") or "", old)
            stored = dig(new, "status", "storedVersions") or []
            yield from parts.check_names(accepted, "status.acceptedNames", needed=False)
            yield from parts.check_stored_versions(stored, spec.get("versions") or [])
        else:
            yield from parts.check_names(accepted, "status.acceptedNames", needed=False)
        yield from _check_approval(new, old)
        if spec.get("preserveUnknownFields") and not dig(old or {}, "spec", "preserveUnknownFields"):
            told = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in"
            yield invalid("spec.preserveUnknownFields", True, f"{told} spec.versions[*].schema instead")

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        known = set(_unknown_formats(old)) if old is not None else set()
        for name in _unknown_formats(new):
            if name not in known:
                yield f'unrecognized format "{name}"'


def _decode_inner(schema: Json) -> None:
    """Decode the schemas in fields that may hold something else as well. Raises BadRequest."""
    for name, others in (("items", list), ("additionalProperties", bool)):
        found = schema.get(name)
        if isinstance(found, dict):
            check.decode(facts.schema(_PROPS), found)
        elif found is not None and not isinstance(found, others):
            raise BadRequest(f"{name} of a schema must be a schema or a {others.__name__}, not {type(found).__name__}")
    for _, child in children(schema):
        _decode_inner(child)


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


def _check_spec(spec: Json, name: str, old: Json | None) -> Errors:
    crd_names, versions = spec.get("names") or {}, spec.get("versions") or []
    if old is None and name != f"{crd_names.get('plural') or ''}.{spec.get('group') or ''}":
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    yield from parts.check_group(spec.get("group") or "")
    yield from parts.check_scope(spec.get("scope") or "")
    if old is None or all(dig(v, "schema", "openAPIV3Schema") is not None for v in dig(old, "spec", "versions") or ()):
        for index, version in enumerate(versions):
            if dig(version, "schema", "openAPIV3Schema") is None:
                yield required(f"spec.versions[{index}].schema.openAPIV3Schema")
    yield from parts.check_versions(versions)
    yield from parts.check_names(crd_names, "spec.names", needed=True)
    before = dig(old or {}, "spec", "versions") or []
    yield from _check_schemas(versions, before)
    yield from parts.check_subresources(versions)
    yield from parts.check_columns(versions)
    yield from parts.check_selectable_fields(versions, before)
    yield from check_conversion(spec.get("conversion") or {}, old)
    if old is not None:
        if any(c["type"] == "Established" and c["status"] == "True" for c in dig(old, "status", "conditions") or ()):
            yield from immutable({"spec": spec}, old, "spec.scope", "spec.names.kind")
        yield from immutable({"spec": spec}, old, "spec.group", "spec.names.plural")


def _check_schemas(versions: list[Json], before: list[Json]) -> Errors:
    """The schemas that are not as they were; what was wrong with a schema before may stay so."""
    with_status = any(dig(version, "subresources", "status") is not None for version in versions)
    known = {v.get("name"): (dig(v, "schema", "openAPIV3Schema"), _has_status(v)) for v in before}
    found: list[FieldError] = []
    for path, wrapped, version in parts.places(versions, "schema", "validation"):
        schema = (wrapped or {}).get("openAPIV3Schema")
        status = with_status if path == "spec.validation" else _has_status(version)
        if isinstance(schema, dict) and known.get(version.get("name")) != (schema, status):
            found += _check_schema(schema, f"{path}.openAPIV3Schema", status=status)
    if found and before:
        old = [schema for schema, _ in known.values() if isinstance(schema, dict)]
        forgiven = {(e.reason, e.detail) for schema in old for e in _check_schema(schema, "", status=False)}
        found = [error for error in found if _RULES in error.path or (error.reason, error.detail) not in forgiven]
    yield from found


def _has_status(version: Json) -> bool:
    return dig(version, "subresources", "status") is not None


def _check_schema(schema: Json, path: str, *, status: bool) -> Errors:
    found = list(check_root(schema, path, status=status))
    odd, usable = unconvertible(schema), False
    if not odd:
        problems = check_structural(schema, path)
        if not problems:
            problems = list(_check_compiled(schema, path))
            usable = not problems
        found += problems
    wrong = list(check_schema(schema, path))
    found += wrong
    if odd and not found:
        found.append(invalid(path, "", odd))
    yield from found
    if usable:
        yield from _check_rules(schema, path, [error.path for error in wrong])


def _check_compiled(schema: Json, path: str) -> Errors:
    try:
        yield from check_defaults(from_openapi_v3(schema), path)
    except (ValueError, TypeError, AttributeError) as error:
        yield invalid(path, "", f"error building validator: {error}")


def _check_rules(schema: Json, path: str, wrong: list[str]) -> Errors:
    """Complaints about rules, but of those places only that have nothing `wrong` at them or below."""
    compiled = from_openapi_v3(schema)
    if not has_rules(compiled):
        return
    # Only definitions that have rules load the language.
    from tiphys.api.rules.checks import check_rules

    for error in check_rules(compiled, path):
        place = error.path.partition(_RULES)[0]
        if not any(each == place or each.startswith((f"{place}.", f"{place}[")) for each in wrong):
            yield error


def _check_approval(new: Json, old: Json | None) -> Errors:
    """Definitions in Kubernetes' own groups need an approval, unless they had none before."""
    if not is_protected(dig(new, "spec", "group") or ""):
        return
    annotation = (dig(new, "metadata", "annotations") or {}).get(APPROVED) or ""
    state, reason = approval_state(annotation)
    if old is not None and approval_state((dig(old, "metadata", "annotations") or {}).get(APPROVED) or "")[0] == state:
        return
    path = f"metadata.annotations[{APPROVED}]"
    if state == "Missing":
        yield required(path, reason)
    elif state == "Invalid":
        yield invalid(path, annotation, reason)


def _unknown_formats(definition: Json) -> Iterator[str]:
    for version in dig(definition, "spec", "versions") or ():
        schema = dig(version, "schema", "openAPIV3Schema")
        if isinstance(schema, dict):
            yield from _formats_in(schema)


def _formats_in(schema: Json) -> Iterator[str]:
    name = schema.get("format")
    if name and not formats.is_known(name, schema.get("type") or ""):
        yield name
    for _, child in children(schema):
        yield from _formats_in(child)
