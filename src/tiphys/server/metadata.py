"""Validation of metadata, the same for every kind but for the form of names.

Source: upstream's `apimachinery/pkg/api/validation/objectmeta.go` and `ValidateObjectMeta` of its core validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tiphys.api import names
from tiphys.api.errors import FieldError, forbidden, invalid, required
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json

# What is judged here; most updates leave it as it was.
_JUDGED = ("name", "namespace", "labels", "annotations", "ownerReferences", "finalizers")
_ORPHAN, _FOREGROUND = "orphan", "foregroundDeletion"
_STANDARD_FINALIZERS = ("kubernetes", _ORPHAN, _FOREGROUND)
# Groups of which upstream takes finalizers of any name, as it does of custom resources.
_ANY_FINALIZER = (
    "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "coordination.k8s.io",
    "node.k8s.io",
)  # fmt: skip


def check_metadata(obj: Json, old: Json | None, resource: AnyResource) -> Iterator[FieldError]:
    """What is wrong besides the name's own form, which each kind decides."""
    meta = obj["metadata"]
    if old is not None and all(meta.get(name) == old["metadata"].get(name) for name in _JUDGED):
        return
    name, finalizers = meta.get("name", ""), meta.get("finalizers") or ()
    if old is not None and old["metadata"].get("deletionTimestamp"):
        yield from _check_new_finalizers(finalizers, old["metadata"].get("finalizers") or ())
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        for problem in names.path_segment(name):
            yield invalid("metadata.name", name, problem)
    if resource.namespaced:
        for problem in names.dns1123_label(meta.get("namespace", "")):
            yield invalid("metadata.namespace", meta.get("namespace", ""), problem)
    yield from names.validate_labels(meta.get("labels") or {}, "metadata.labels")
    yield from names.validate_annotations(meta.get("annotations") or {}, "metadata.annotations")
    if meta.get("ownerReferences"):
        yield from _check_owners(meta["ownerReferences"])
    if finalizers:
        if old is None:
            yield from _check_finalizers(finalizers)
        if resource.structural is None and resource.group not in _ANY_FINALIZER:
            yield from _check_known(finalizers)


def _check_new_finalizers(finalizers: Any, before: Any) -> Iterator[FieldError]:
    added = sorted(set(finalizers) - set(before))
    if added:
        shown = ", ".join(f'"{name}"' for name in added)
        rule = "no new finalizers can be added if the object is being deleted, found new finalizers"
        yield forbidden("metadata.finalizers", f"{rule} []string{{{shown}}}")


def _check_finalizers(finalizers: Any) -> Iterator[FieldError]:
    for finalizer in finalizers:
        for problem in names.qualified_name(finalizer):
            yield invalid("metadata.finalizers", finalizer, problem)
    if _ORPHAN in finalizers and _FOREGROUND in finalizers:
        rule = f"finalizer {_ORPHAN} and {_FOREGROUND} cannot be both set"
        yield invalid("metadata.finalizers", list(finalizers), rule)


def _check_known(finalizers: Any) -> Iterator[FieldError]:
    for index, finalizer in enumerate(finalizers):
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            rule = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{index}]", finalizer, rule)


def _check_owners(owners: Any) -> Iterator[FieldError]:
    first = ""
    for index, owner in enumerate(owners):
        path, kind = f"metadata.ownerReferences[{index}]", owner.get("kind") or ""
        if not owner.get("apiVersion"):
            yield invalid(f"{path}.apiVersion", "", "version must not be empty")
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                yield invalid(f"{path}.{field}", "", "must not be empty")
        if owner.get("apiVersion") == "v1" and kind == "Event":
            yield invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner")
        if not owner.get("controller"):
            continue
        controller = f"{kind}/{owner.get('name') or ''}"
        if first:
            found = f'Found "true" in references for {first} and {controller}'
            rule = f"Only one reference can have Controller set to true. {found}"
            yield invalid("metadata.ownerReferences", owners, rule)
        else:
            first = controller
