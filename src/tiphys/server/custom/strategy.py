"""What is particular to custom objects: defaults and validation by their schema, their status, their scale.

Source: upstream's `apiextensions-apiserver/pkg/registry/customresource/{strategy,status_strategy,validator}.go`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tiphys.api import embedded, names, structural, validation
from tiphys.api.errors import FieldError, invalid
from tiphys.api.resource import Json, ScalePaths, Strategy
from tiphys.api.rules import has_rules
from tiphys.api.schema import Schema

if TYPE_CHECKING:
    from tiphys.api.rules.compiled import RuleTree

# Errors after which rules could not trust the object.
_BLOCKING = frozenset(
    ("FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid", "FieldValueNotSupported")
)
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)
_INT32 = 2**31 - 1
_FINALIZERS = frozenset(("orphan", "foregroundDeletion", "kubernetes"))
_PREFER = "to avoid accidental conflicts with other finalizer writers"


class CustomStrategy(Strategy):
    def __init__(self, schema: Schema, scale: ScalePaths | None = None, *, status: bool = False) -> None:
        self._schema, self._scale, self._status = schema, scale, status
        self._has_rules = has_rules(schema)
        self._has_defaults = structural.has_defaults(schema)
        self._has_lists = structural.has_unique_lists(schema)
        self._has_embedded = embedded.has_embedded(schema)
        self._rules: RuleTree | None = None

    def default(self, new: Json) -> None:
        if self._has_defaults:
            structural.default(self._schema, new)

    def prepare(self, new: Json, old: Json | None) -> None:
        if old is None and self._status:
            new.pop("status", None)

    def validate(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        found = self._by_schema(new, old)
        yield from found
        if not self._has_rules:
            return
        if any(error.reason in _BLOCKING for error in found):
            yield invalid("<nil>", None, _UNCHECKED)
            return
        # Only definitions that have rules load the language.
        from tiphys.api.rules.compiled import tree
        from tiphys.api.rules.evaluate import evaluate_rules

        if self._rules is None:
            self._rules = tree(self._schema, root=True)
        if self._rules is not None:
            yield from evaluate_rules(self._rules, new, old)

    def _by_schema(self, new: Json, old: Json | None) -> list[FieldError]:
        found: list[FieldError] = []
        if old is None:
            found += [invalid("metadata.name", name, why) for name, why in _name_problems(new)]
        status_only = self._status and old is not None and _differs_in_status_only(new, old)
        before = validation.ABSENT if old is None else old
        found += self._status_errors(new, before) if status_only else validation.validate(self._schema, new, "", before)
        if self._scale is not None:
            found += _check_scale(self._scale, new)
        if self._has_embedded:
            found += embedded.check_embedded(self._schema, new)
        if self._has_lists and not (old is not None and any(validation.repeated(self._schema, old))):
            found += validation.repeated(self._schema, new)
        return found

    def _status_errors(self, new: Json, old: Json) -> Iterator[FieldError]:
        """A write of the status is not refused for what else is wrong with the object."""
        field = self._schema.properties.get("status")
        if field is not None and "status" in new:
            yield from validation.validate(field, new["status"], "status", old.get("status", validation.ABSENT))

    def warnings(self, new: Json, old: Json | None) -> Iterator[str]:
        known = set((old or {}).get("metadata", {}).get("finalizers") or ())
        for finalizer in sorted(set(new["metadata"].get("finalizers") or ()) - known):
            if "/" in finalizer or finalizer in _FINALIZERS:
                continue
            kind = "name including a path (/)" if "." in finalizer else "name"
            yield f'metadata.finalizers: "{finalizer}": prefer a domain-qualified finalizer {kind} {_PREFER}'


def _name_problems(new: Json) -> Iterator[tuple[str, str]]:
    name = new["metadata"].get("name") or ""
    for problem in names.dns1123_subdomain(name) if name else ():
        yield name, problem


def _differs_in_status_only(new: Json, old: Json) -> bool:
    return all(
        new.get(name) == old.get(name) for name in {*new, *old} if name not in ("status", "metadata")
    ) and _without_bookkeeping(new) == _without_bookkeeping(old)


def _without_bookkeeping(obj: Json) -> Json:
    return {k: v for k, v in obj["metadata"].items() if k not in ("managedFields", "resourceVersion")}


def _check_scale(scale: ScalePaths, obj: Json) -> Iterator[FieldError]:
    for path in (scale.spec_replicas, scale.status_replicas):
        value, problem = _nested(obj, path, int, "int64")
        if problem:
            yield invalid(f".{path}", 0, problem)
        elif value is not None and value < 0:
            yield invalid(f".{path}", value, "should be a non-negative integer")
        elif value is not None and value > _INT32:
            yield invalid(f".{path}", value, f"should be less than or equal to {_INT32}")
    if scale.selector:
        _, problem = _nested(obj, scale.selector, str, "string")
        if problem:
            yield invalid(f".{scale.selector}", "", problem)


_GO = {bool: "bool", int: "int64", float: "float64", str: "string", list: "[]interface {}", type(None): "<nil>"}


def _nested(obj: Json, path: str, wanted: type, go: str) -> tuple[Any, str]:
    """The value at a dotted path, or why there cannot be one of the type, as upstream's accessors say it."""
    value: Any = obj
    steps = path.split(".")
    for index, name in enumerate(steps):
        if not isinstance(value, dict):
            at = ".".join(["", *steps[:index]])
            return None, (
                f".{path} accessor error: {value} is of the type {_GO.get(type(value), 'map')}, expected "
                f"map[string]interface{{}} at {at}"
                if value is not None
                else ""
            )
        if name not in value:
            return None, ""
        value = value[name]
    if type(value) is not wanted:
        shown = _GO.get(type(value), "map[string]interface {}")
        return None, f".{path} accessor error: {value} is of the type {shown}, expected {go}"
    return value, ""
