"""What the parts of a definition besides its schemas must be: names, versions, columns, subresources, fields.

Errors name places as upstream's internal form has them: what all versions share is beside them (`spec.validation`,
`spec.subresources`, `spec.additionalPrinterColumns`, `spec.selectableFields`).
Source: upstream's `apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api import names
from tiphys.api.custom_schema import from_openapi_v3
from tiphys.api.errors import duplicate, invalid, not_supported, required, too_many
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MIXED = "may have mixed case, but should otherwise match: "
_MAX_SELECTABLE = 8
_MAX_WARNING = 256


def shared(versions: list[Json], field: str) -> bool:
    """Whether all versions have the same under `field`, so that upstream keeps it beside them."""
    return all(version.get(field) == versions[0].get(field) for version in versions)


def places(versions: list[Json], field: str, together: str) -> Iterator[tuple[str, Any, Json]]:
    """(path, value, version) of a field of the versions; once, at `together`, if they share it."""
    if versions and shared(versions, field):
        yield f"spec.{together}", versions[0].get(field), versions[0]
        return
    for index, version in enumerate(versions):
        yield f"spec.versions[{index}].{field}", version.get(field), version


def check_group(group: str) -> Errors:
    if not group:
        yield required("spec.group")
    elif problems := names.dns1123_subdomain(group):
        yield invalid("spec.group", group, ",".join(problems))
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")


def check_scope(scope: str) -> Errors:
    allowed = ("Cluster", "Namespaced")
    if not scope:
        yield required("spec.scope")
    elif scope not in allowed:
        yield not_supported("spec.scope", scope, allowed)


def check_names(crd_names: Json, path: str, *, needed: bool) -> Errors:
    for field in ("plural", "singular", "kind", "listKind"):
        if needed and not crd_names.get(field):
            yield required(f"{path}.{field}")
    for field in ("plural", "singular"):
        yield from _label(crd_names.get(field), f"{path}.{field}")
    for field in ("kind", "listKind"):
        value = crd_names.get(field) or ""
        if value and (problems := names.dns1035_label(value.lower())):
            yield invalid(f"{path}.{field}", value, _MIXED + ",".join(problems))
    for index, value in enumerate(crd_names.get("shortNames") or ()):
        yield from _label(value, f"{path}.shortNames[{index}]", empty=True)
    if crd_names.get("kind") and crd_names["kind"] == crd_names.get("listKind"):
        yield invalid(f"{path}.listKind", crd_names["listKind"], "kind and listKind may not be the same")
    for index, value in enumerate(crd_names.get("categories") or ()):
        yield from _label(value, f"{path}.categories[{index}]", empty=True)


def _label(value: str | None, path: str, *, empty: bool = False) -> Errors:
    if (value or empty) and (problems := names.dns1035_label(value or "")):
        yield invalid(path, value or "", ",".join(problems))


def check_versions(versions: list[Json]) -> Errors:
    """Names, deprecation and storage of the versions."""
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version.get("name") or ""
        yield from _label(name, f"{path}.name", empty=True)
        for problem in _warning_problems(version):
            yield invalid(f"{path}.deprecationWarning", version.get("deprecationWarning"), problem)
    found = [version.get("name") for version in versions]
    if len(set(found)) < len(found):
        yield invalid("spec.versions", versions, "must contain unique version names")
    if sum(1 for version in versions if version.get("storage")) != 1:
        yield invalid("spec.versions", versions, "must have exactly one version marked as storage version")


def _warning_problems(version: Json) -> Iterator[str]:
    text = version.get("deprecationWarning")
    if text is None:
        return
    if not version.get("deprecated"):
        yield "can only be set for deprecated versions"
        return
    if len(text.encode()) > _MAX_WARNING:
        yield "must be <= 256 characters long"
    if not text:
        yield "must not be an empty string"
    odd = next((index for index, char in enumerate(text) if not char.isprintable()), None)
    if odd is not None:
        at = len(text[:odd].encode())
        yield f"must only contain printable UTF-8 characters; non-printable character found at index {at}"


def check_columns(versions: list[Json]) -> Errors:
    for path, columns, _ in places(versions, "additionalPrinterColumns", "additionalPrinterColumns"):
        for index, column in enumerate(columns or ()):
            yield from _column(column, f"{path}[{index}]")


def _column(column: Json, path: str) -> Errors:
    kind, layout, json_path = column.get("type") or "", column.get("format") or "", column.get("jsonPath") or ""
    if not column.get("name"):
        yield required(f"{path}.name")
    told = f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        yield required(f"{path}.type", told)
    elif kind not in _COLUMN_TYPES:
        yield invalid(f"{path}.type", kind, told)
    if layout and layout not in _COLUMN_FORMATS:
        yield invalid(f"{path}.format", layout, f"must be one of {','.join(_COLUMN_FORMATS)}")
    if not json_path:
        yield required(f"{path}.JSONPath")
    else:
        yield from _simple_path(json_path, f"{path}.JSONPath")


def _simple_path(text: str, path: str) -> Errors:
    if not text.startswith("."):
        yield invalid(path, text, "must be a simple json path starting with .")


def check_subresources(versions: list[Json]) -> Errors:
    for path, subresources, _ in places(versions, "subresources", "subresources"):
        scale = (subresources or {}).get("scale")
        if scale is None:
            continue
        for field, below in (("specReplicasPath", "spec"), ("statusReplicasPath", "status")):
            at, value = f"{path}.scale.{field}", scale.get(field) or ""
            if not value:
                yield required(at)
            elif not value.startswith("."):
                yield from _simple_path(value, at)
            elif not value.startswith(f".{below}."):
                yield invalid(at, value, f"should be a json path under .{below}")
        selector, at = scale.get("labelSelectorPath") or "", f"{path}.scale.labelSelectorPath"
        if selector and not selector.startswith("."):
            yield from _simple_path(selector, at)
        elif selector and not selector.startswith((".spec.", ".status.")):
            yield invalid(at, selector, "should be a json path under either .spec or .status")


def check_selectable_fields(versions: list[Json], old: list[Json]) -> Errors:
    before = {version.get("name"): version.get("selectableFields") or [] for version in old}
    for path, fields, version in places(versions, "selectableFields", "selectableFields"):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if not fields or not isinstance(schema, dict):
            continue
        seen: set[str] = set()
        for index, field in enumerate(fields):
            yield from _selectable(field.get("jsonPath") or "", schema, f"{path}[{index}].jsonPath", seen)
        known = before.get(version.get("name"), [])
        if len(seen) > _MAX_SELECTABLE and not (len(known) > _MAX_SELECTABLE and known == fields):
            yield too_many(path, len(seen), _MAX_SELECTABLE)


def _selectable(text: str, schema: Json, path: str, seen: set[str]) -> Errors:
    if not text:
        yield required(path)
        return
    if "[" in text:
        yield invalid(path, text, "is an invalid path: expected . but got [ (array notation is not allowed)")
        return
    from tiphys.api.rules.paths import field_path  # few definitions have selectable fields

    try:
        found = field_path(from_openapi_v3(schema), text)
    except ValueError as error:
        yield invalid(path, text, f"is an invalid path: {error}")
        return
    steps = text.removeprefix(".").split(".")
    if steps[0] == "metadata":
        yield invalid(path, text, "must not point to fields in metadata")
    node: Any = schema
    for step in steps:
        node = (node.get("properties") or {}).get(step) or node.get("additionalProperties") or {}
    if not isinstance(node, dict) or node.get("type") not in ("string", "boolean", "integer"):
        told = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats"
        yield invalid(path, text, f"{told} are allowed.")
    if found in seen:
        yield duplicate(path, text)
    seen.add(found)


def check_stored_versions(stored: list[str], versions: list[Json]) -> Errors:
    path = "status.storedVersions"
    if not stored:
        yield invalid(path, stored, "must have at least one stored version")
        return
    known = {version.get("name") for version in versions}
    for version in versions:
        if version.get("storage") and version.get("name") not in stored:
            yield invalid(path, stored, f"must have the storage version {version.get('name')}")
    for index, name in enumerate(stored):
        if name not in known:
            told = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            yield invalid(f"{path}[{index}]", name, told)
