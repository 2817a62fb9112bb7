"""Validation of conditions of the common shape, `metav1.Condition`. Source: upstream's `ValidateConditions`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tiphys.api import names
from tiphys.api.errors import duplicate, invalid, not_supported, required, too_long
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors, follows

_STATUSES = ("False", "True", "Unknown")
_REASON_FORM = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_REASON = re.compile(_REASON_FORM)
_EXAMPLES = " or ".join(
    f"'{word}', " for word in ("my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB")
)
_REASON_RULE = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' "
    f"(e.g. {_EXAMPLES}regex used for validation is '{_REASON_FORM}')"
)
_MAX_REASON, _MAX_MESSAGE = 1024, 32 * 1024


def check_conditions(conditions: Sequence[Json], path: str) -> Errors:
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        where, kind = f"{path}[{index}]", condition.get("type") or ""
        if kind in seen:
            yield duplicate(where, kind)
        seen.add(kind)
        if not kind:
            yield required(f"{where}.type", "is required")
        else:
            yield from follows(kind, f"{where}.type", names.label_key)
        yield from _check_rest(condition, where)


def _check_rest(condition: Json, path: str) -> Errors:
    status, generation = condition.get("status") or "", condition.get("observedGeneration") or 0
    reason = condition.get("reason") or ""
    if not status:
        yield required(f"{path}.status")
    elif status not in _STATUSES:
        yield not_supported(f"{path}.status", status, _STATUSES)
    if generation < 0:
        yield invalid(f"{path}.observedGeneration", generation, "must be greater than or equal to zero")
    if not condition.get("lastTransitionTime"):
        yield required(f"{path}.lastTransitionTime")
    if not reason:
        yield required(f"{path}.reason")
    elif _REASON.fullmatch(reason) is None:
        yield invalid(f"{path}.reason", reason, _REASON_RULE)
    if len(reason.encode()) > _MAX_REASON:
        yield too_long(f"{path}.reason", _MAX_REASON)
    if len((condition.get("message") or "").encode()) > _MAX_MESSAGE:
        yield too_long(f"{path}.message", _MAX_MESSAGE)
