"""From client-side to server-side apply: what the annotation of `kubectl apply` means to the server.

Only for the manager `kubectl`, as upstream: fields that the last client-side apply set and nobody changed since are
its own, so they do not conflict, and while the annotation is there it says what was applied last.
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#upgrading-from-client-side-apply
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from tiphys.api.compare import applied_set, compare
from tiphys.api.fieldset import FieldSet, difference, strip, union
from tiphys.api.schema import Schema

MANAGER = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def allowed(live: Mapping[str, Any], api_version: str, schema: Schema) -> FieldSet:
    """The fields of the last client-side apply that still are as it set them; none without a usable annotation."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    try:
        applied = orjson.loads(text or "null")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(applied, dict) or applied.get("apiVersion") != api_version:
        return {}
    changes = compare(schema, applied, live)
    others = union(union(changes.added, changes.modified), changes.removed)
    return difference(strip(applied_set(schema, applied)), strip(others))


def record(merged: dict[str, Any], applied: Mapping[str, Any]) -> None:
    """Let the annotation, where there is one, say what was applied now."""
    annotations = (merged.get("metadata") or {}).get("annotations") or {}
    if not annotations.get(ANNOTATION):
        return
    whole = orjson.loads(orjson.dumps(applied))
    ((whole.get("metadata") or {}).get("annotations") or {}).pop(ANNOTATION, None)
    annotations[ANNOTATION] = orjson.dumps(whole, option=orjson.OPT_SORT_KEYS).decode() + "\n"
