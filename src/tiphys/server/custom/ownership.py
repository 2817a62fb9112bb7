"""managedFields of custom resources in several versions: what a manager owns is named in the version that it wrote.

A write changes other fields in another version, which only converting tells: the object before and after is converted
to each version that managers used, and what differs there is taken from them. Versions that differ in nothing but their
name need none of this. Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/#crds-and-defaulting
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.apply import APPLY, changed, ordered, refuse_conflicts
from tiphys.api.fieldset import FieldSet, difference, union
from tiphys.api.resource import Json
from tiphys.server.call import Call


async def settle_other_versions(call: Call, new: Json, old: Json, *, applied: bool) -> None:
    """Correct, in place, the entries of `new` that are of other versions than the request's.

    `applied` tells that this is a server-side apply. Raises Conflict for one that takes what another manager owns
    without force, ConversionFailed.
    """
    view = call.resource.view
    if view is None or not view.converter.remote:
        return
    own = call.resource.api_version
    entries = [each for each in old["metadata"].get("managedFields") or () if _is_elsewhere(each, own)]
    if applied:
        entries = [each for each in entries if (each["operation"], each.get("manager")) != (APPLY, call.manager)]
    if not entries:
        return
    changes: dict[str, tuple[FieldSet, FieldSet]] = {}
    for version in {each["apiVersion"] for each in entries} & set(view.schemas):
        before, after = await view.converter.convert([_copy(old), _copy(new)], version)
        changes[version] = changed(view.schemas[version], before, after)
    if applied and not call.request.flag("force"):
        for each in entries:
            if each["apiVersion"] in changes:
                refuse_conflicts([each], changes[each["apiVersion"]][0])
    kept = [each for each in new["metadata"].get("managedFields") or () if not _is_among(each, entries)]
    new["metadata"]["managedFields"] = ordered([*kept, *_left(entries, changes)])


def _left(entries: list[Json], changes: dict[str, tuple[FieldSet, FieldSet]]) -> list[Json]:
    """The entries less what was changed; those of a version that is no more, or with nothing left, go."""
    found = []
    for each in entries:
        change = changes.get(each["apiVersion"])
        fields = difference(each["fieldsV1"], union(*change)) if change is not None else {}
        if fields:
            found.append({**each, "fieldsV1": fields})
    return found


def _is_elsewhere(entry: Json, own: str) -> bool:
    return isinstance(entry.get("fieldsV1"), dict) and bool(entry.get("operation")) and entry.get("apiVersion") != own


def _is_among(entry: Json, entries: list[Json]) -> bool:
    return any(_identity(entry) == _identity(each) for each in entries)


def _identity(entry: Json) -> tuple[Any, ...]:
    return tuple(entry.get(name, "") for name in ("manager", "operation", "apiVersion", "subresource"))


def _copy(obj: Json) -> Json:
    made: Json = orjson.loads(orjson.dumps(obj))
    made["metadata"].pop("managedFields", None)
    return made
