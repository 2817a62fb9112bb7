"""Resources inside custom resources (`x-kubernetes-embedded-resource`): what must be true of their identity.

Source: upstream's `apiextensions-apiserver/pkg/apiserver/schema/objectmeta/validation.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api import names
from tiphys.api.errors import FieldError, invalid, required
from tiphys.api.schema import Schema

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
    """apiVersion, kind and metadata of one embedded resource."""
    for name in ("apiVersion", "kind"):
        if name not in obj:
            yield required(f"{path}.{name}")
    if "apiVersion" in obj:
        yield from _check_api_version(obj["apiVersion"], f"{path}.apiVersion")
    if "kind" in obj:
        yield from _check_kind(obj["kind"], f"{path}.kind")
    metadata = obj.get("metadata")
    if metadata is not None and type(metadata) is not dict:
        yield invalid(f"{path}.metadata", metadata, f"json: cannot unmarshal {type(metadata).__name__} into ObjectMeta")
    elif metadata:
        yield from check_metadata(metadata, f"{path}.metadata")


def _check_api_version(value: Any, path: str) -> Iterator[FieldError]:
    if type(value) is not str:
        yield invalid(path, value, "must be a string")
    elif not value:
        yield invalid(path, value, "must not be empty")
    elif value.count("/") > 1:
        yield invalid(path, value, f"unexpected GroupVersion string: {value}")


def _check_kind(value: Any, path: str) -> Iterator[FieldError]:
    if type(value) is not str:
        yield invalid(path, value, "must be a string")
    elif not value:
        yield invalid(path, value, "must not be empty")
    elif problems := names.dns1035_label(value.lower()):
        yield invalid(path, value, _MIXED + ",".join(problems))


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
