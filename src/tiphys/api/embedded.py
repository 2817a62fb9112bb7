"""Resources inside custom resources (`x-kubernetes-embedded-resource`): what must be true of their identity.

Source: upstream's `apiextensions-apiserver/pkg/apiserver/schema/objectmeta/validation.go`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from tiphys.api import check, facts, names
from tiphys.api.errors import BadRequest, FieldError, invalid, required
from tiphys.api.schema import Schema

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_MIXED = "may have mixed case, but should otherwise match: "


def has_embedded(schema: Schema) -> bool:
    """Whether there are embedded resources below the root of `schema`."""
    return any(each.embedded_resource or has_embedded(each) for each in _inner(schema) if not each.name)


def _inner(schema: Schema) -> list[Schema]:
    inner = [*schema.properties.values()]
    return inner + [each for each in (schema.items, schema.additional) if each is not None and each is not schema]


def check_embedded(schema: Schema, obj: Any, path: str = "") -> Iterator[FieldError]:
    """Complaints about the embedded resources in `obj`, the root not being one."""
    if type(obj) is dict:
        for key, value in obj.items():
            field = schema.properties.get(key)
            at = f"{path}.{key}" if path else key
            if field is None:
                field, at = schema.additional, f"{path}[{key}]"
            if field is None or field.name:
                continue
            if field.embedded_resource and type(value) is dict:
                yield from check_resource(value, at)
            yield from check_embedded(field, value, at)
    elif type(obj) is list and schema.items is not None:
        for index, value in enumerate(obj):
            at = f"{path}[{index}]"
            if schema.items.embedded_resource and type(value) is dict:
                yield from check_resource(value, at)
            yield from check_embedded(schema.items, value, at)


def check_resource(obj: dict[str, Any], path: str) -> Iterator[FieldError]:
    """apiVersion, kind and metadata of one embedded resource; what is of a wrong type is all that is said then."""
    mistyped = list(_mistyped(obj, path))
    yield from mistyped
    if mistyped:
        return
    for name, check_text in (("apiVersion", _api_version_problem), ("kind", _kind_problem)):
        at = f"{path}.{name}"
        if name not in obj:
            yield required(at)
        elif problem := check_text(obj[name]):
            yield invalid(at, obj[name], problem)
    if obj.get("metadata"):
        yield from check_metadata(obj["metadata"], f"{path}.metadata")


def _mistyped(obj: dict[str, Any], path: str) -> Iterator[FieldError]:
    for name in ("apiVersion", "kind"):
        if name in obj and type(obj[name]) is not str:
            yield invalid(f"{path}.{name}", obj[name], "must be a string")
    metadata = obj.get("metadata")
    if metadata is not None:
        try:
            check.decode(facts.schema(_META), copy.deepcopy(metadata))
        except BadRequest as error:
            yield invalid(f"{path}.metadata", metadata, error.message.rpartition(": ")[2])


def _api_version_problem(value: str) -> str:
    if not value:
        return "must not be empty"
    return f"unexpected GroupVersion string: {value}" if value.count("/") > 1 else ""


def _kind_problem(value: str) -> str:
    if not value:
        return "must not be empty"
    problems = names.dns1035_label(value.lower())
    return _MIXED + ",".join(problems) if problems else ""


def check_metadata(meta: dict[str, Any], path: str) -> Iterator[FieldError]:
    """ObjectMeta of a resource that need not have a name."""
    for field in ("name", "generateName"):
        for problem in names.path_segment(meta.get(field) or "x"):
            yield invalid(f"{path}.{field}", meta[field], problem)
    if meta.get("namespace"):
        for problem in names.dns1123_label(meta["namespace"]):
            yield invalid(f"{path}.namespace", meta["namespace"], problem)
    yield from names.validate_labels(meta.get("labels") or {}, f"{path}.labels")
    yield from names.validate_annotations(meta.get("annotations") or {}, f"{path}.annotations")
    for finalizer in meta.get("finalizers") or ():
        for problem in names.qualified_name(finalizer):
            yield invalid(f"{path}.finalizers", finalizer, problem)
