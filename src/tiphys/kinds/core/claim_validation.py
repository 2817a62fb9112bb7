"""Validation of a PersistentVolumeClaim's spec, also where a pod or a StatefulSet holds it as a template.

Source: upstream's `ValidatePersistentVolumeClaimSpec`.
"""

from __future__ import annotations

from tiphys.api import names
from tiphys.api.errors import forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows, label_selector, one_of
from tiphys.kinds.core.resource_validation import check_positive
from tiphys.kinds.fields import dig

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_OWN_META = ("labels", "annotations")


def check_claim_template(template: Json, path: str) -> Errors:
    """Of a generic ephemeral volume: only labels and annotations of its metadata mean anything."""
    meta = template.get("metadata") or {}
    yield from names.validate_annotations(meta.get("annotations") or {}, f"{path}.metadata.annotations")
    yield from names.validate_labels(meta.get("labels") or {}, f"{path}.metadata.labels")
    for field, value in meta.items():
        if field not in _OWN_META and value:
            yield forbidden(f"{path}.metadata.{field}", "cannot be set")
    yield from check_claim_spec(template.get("spec") or {}, f"{path}.spec")


def check_claim_spec(spec: Json, path: str, *, any_group: bool = False) -> Errors:
    """`any_group`: whether what it is made from may be of a group with an illegal name, as one before it was."""
    if not spec.get("accessModes"):
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    yield from label_selector(spec.get("selector"), f"{path}.selector")
    yield from check_access_modes(spec, path)
    storage = dig(spec, "resources", "requests", "storage")
    if storage is None:
        yield required(f"{path}.resources[storage]")
    else:
        yield from check_positive(storage, f"{path}.resources[storage]")
    if spec.get("storageClassName"):
        yield from follows(spec["storageClassName"], f"{path}.storageClassName", names.dns1123_subdomain)
    yield from one_of(spec, path, "volumeMode", ("Block", "Filesystem"))
    yield from _check_sources(spec, path, any_group=any_group)
    if spec.get("volumeAttributesClassName"):
        where = f"{path}.volumeAttributesClassName"
        yield from follows(spec["volumeAttributesClassName"], where, names.dns1123_subdomain)


def check_access_modes(spec: Json, path: str) -> Errors:
    modes = spec.get("accessModes") or ()
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield not_supported(f"{path}.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES and mode != "ReadWriteOncePod" for mode in modes):
        yield forbidden(f"{path}.accessModes", "may not use ReadWriteOncePod with other access modes")


def _check_sources(spec: Json, path: str, *, any_group: bool) -> Errors:
    """What the volume is to be filled from, under its old name and its new one."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for name, value in (("dataSource", source), ("dataSourceRef", reference)):
        if value is not None:
            yield from _check_source(value, f"{path}.{name}", any_group=any_group)
    if source is None or reference is None:
        return
    # The value shown is a path: so does upstream.
    if reference.get("namespace"):
        yield invalid(path, f"{path}.dataSource", "may not be specified when dataSourceRef.namespace is specified")
    elif any(source.get(field) != reference.get(field) for field in ("apiGroup", "kind", "name")):
        yield invalid(path, f"{path}.dataSource", "must match dataSourceRef")


def _check_source(source: Json, path: str, *, any_group: bool) -> Errors:
    for field in ("name", "kind"):
        if not source.get(field):
            yield required(f"{path}.{field}")
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        yield invalid(path, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup")
    if group and not any_group:
        yield from follows(group, f"{path}.apiGroup", names.dns1123_subdomain)
    if source.get("namespace"):
        yield from follows(source["namespace"], f"{path}.namespace", names.dns1123_label)
