"""Conditions held as lists of dicts, as they go into patches of a status."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.api.resource import Json


def condition(conditions: Sequence[Json], type_: str) -> Json | None:
    return next((held for held in conditions if held["type"] == type_), None)


def without_condition(conditions: Sequence[Json], type_: str) -> list[Json]:
    return [held for held in conditions if held["type"] != type_]


def with_condition(conditions: Sequence[Json], new: Json) -> list[Json]:
    """The list with `new` in its type's place; it keeps the old transition time unless the status changed."""
    found = list(conditions)
    for index, held in enumerate(found):
        if held["type"] != new["type"]:
            continue
        if held["status"] == new["status"]:
            new = {**new, "lastTransitionTime": held.get("lastTransitionTime")}
        found[index] = new
        return found
    return [*found, new]
