"""The flow control that every server has, whose specs nobody may change.

Source: upstream's `apiserver/pkg/apis/flowcontrol/bootstrap/default.go`.
"""

from __future__ import annotations

from typing import Any

from tiphys.api.errors import invalid
from tiphys.api.resource import Json
from tiphys.kinds.checks import Errors


def _groups(*names: str) -> list[Json]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


_EVERYTHING = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}  # fmt: skip
FLOW_SCHEMAS: dict[str, Json] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 1,
        "rules": [{"subjects": _groups("system:masters"), **_EVERYTHING}],
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"}, "matchingPrecedence": 10000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": _groups("system:unauthenticated", "system:authenticated"), **_EVERYTHING}],
    },
}  # fmt: skip
# Of the level `exempt` all that is left to choose may be chosen.
PRIORITY_LEVELS: dict[str, Json] = {
    "catch-all": {
        "type": "Limited", "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}},
    }
}  # fmt: skip


def check_fixed(name: str, spec: Json, fixed: dict[str, Json]) -> Errors:
    if name in fixed and _said(spec) != fixed[name]:
        yield invalid("spec", spec, f"spec of '{name}' must equal the fixed value")


def _said(value: Any) -> Any:
    """Without what is as if it were not there."""
    if isinstance(value, dict):
        return {key: said for key, inner in value.items() if (said := _said(inner))}
    return [_said(inner) for inner in value] if isinstance(value, list) else value
