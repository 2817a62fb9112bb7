"""Defaults of a PersistentVolumeClaim's spec; ephemeral volumes and stateful sets hold one too."""

from __future__ import annotations

from tiphys.api.resource import Json


def default_claim_spec(spec: Json) -> None:
    """In place: the volume mode, and `dataSource` and `dataSourceRef` each filled from the other."""
    if not spec.get("volumeMode"):
        spec["volumeMode"] = "Filesystem"
    spec.setdefault("resources", {})
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not reference:
        spec["dataSourceRef"] = dict(source)
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = dict(reference)
