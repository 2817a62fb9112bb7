"""managedFields: who owns which fields, kept through every write, and server-side apply on top of it.

Both entry points are pure. A write gives its manager what it added or changed, and takes that from everybody else; an
apply refuses to take it unless forced, and removes what its manager alone owned and no longer lists.
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tiphys.api import last_applied, time
from tiphys.api.compare import applied_set, compare
from tiphys.api.errors import BadRequest, Conflict
from tiphys.api.fieldset import FieldSet, difference, intersection, paths, serialise, strip, union
from tiphys.api.merge import duplicates, merge, remove, with_structs
from tiphys.api.patch import clone
from tiphys.api.schema import Schema

APPLY, UPDATE = "Apply", "Update"
MAX_UPDATERS = 10
_BUCKET = "ancient-changes"
_BEFORE = "before-first-apply"

Json = dict[str, Any]
Entries = list[Json]


def update_managed(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    *,
    manager: str,
    api_version: str,
    schema: Schema,
    now: float,
    operation: str = UPDATE,
    subresource: str = "",
) -> Entries:
    """The managedFields of `new`, which `manager` wrote over `old` (None: created); neither is changed.

    `now` is in unix seconds. The entries that `new` itself carries count before those of `old`, unless a subresource is
    written; a single empty entry among them forgets everything.
    """
    entry = _entry(manager, operation, api_version, subresource)
    entries = _carried(old, new, subresource)
    # The structs that upstream always has count as there before, so a creator does not own them as such.
    taken, lost = changed(schema, old or {}, new)
    if not taken and not lost:
        return entries
    kept = _without(entries, taken, lost)
    if taken:
        kept = _give(kept, entry, taken, now)
    return ordered(_capped(kept))


def apply(
    live: Mapping[str, Any] | None,
    applied: Mapping[str, Any],
    *,
    manager: str,
    api_version: str,
    schema: Schema,
    now: float,
    force: bool = False,
    subresource: str = "",
    ignored: Collection[str] = (),
) -> Json:
    """The object, managedFields included, that applying `applied` makes of `live` (None: created); neither is changed.

    `ignored` names top-level fields that this endpoint does not write (`status`, or all but it). Applying what changes
    nothing gives an object equal to `live`. Raises Conflict with one cause for each field that another manager owns,
    BadRequest for a configuration with managedFields or with an item twice.
    """
    wanted = _configuration(applied, schema, ignored)
    current: Json = clone(live) if live is not None else {}
    entries = _sound(current.get("metadata", {}).pop("managedFields", None))
    if live is not None and not entries:
        entries = _before_first(current, api_version, schema)
    before = clone(current)
    fields = serialise(strip(applied_set(schema, wanted)))
    entry = _entry(manager, APPLY, api_version, subresource)
    mine = next((e for e in entries if _identity(e) == _identity(entry)), None)
    others = [e for e in entries if e is not mine]
    merged: Json = merge(schema, current, wanted)
    if mine is not None:
        merged = _pruned(schema, (merged, wanted), mine["fieldsV1"], [fields, *(e["fieldsV1"] for e in others)])
    taken, lost = changed(schema, before, merged)
    if not force:
        own = last_applied.allowed(before, api_version, schema) if manager == last_applied.MANAGER else {}
        refuse_conflicts(others, difference(taken, own) if own else taken)
    if manager == last_applied.MANAGER:
        last_applied.record(merged, applied)
    kept = _without(others, taken, lost)
    if fields:
        idle = mine is not None and not taken and not lost and mine["fieldsV1"] == fields
        stamp = mine.get("time", "") if mine is not None and idle else time.rfc3339(now)
        kept.append(_complete(entry, fields, stamp))
    merged.setdefault("metadata", {})["managedFields"] = ordered(_capped(kept))
    return merged


def _configuration(applied: Mapping[str, Any], schema: Schema, ignored: Collection[str]) -> Json:
    wanted: Json = clone({key: value for key, value in applied.items() if key not in ignored})
    metadata = wanted.get("metadata") or {}
    if metadata.pop("managedFields", None):
        raise BadRequest("metadata.managedFields must be nil")
    twice = "; ".join(duplicates(schema, wanted))
    if twice:
        name = "/".join(filter(None, (metadata.get("namespace"), metadata.get("name"))))
        what = f"{name}; {wanted.get('apiVersion')}, Kind={wanted.get('kind')}"
        raise BadRequest(f"failed to create typed patch object ({what}): {twice}")
    return wanted


def _pruned(schema: Schema, made: tuple[Json, Json], last: FieldSet, owned: Sequence[FieldSet]) -> Json:
    """`made` (merged, of what was wanted) without what only the manager's last configuration owned."""
    merged, wanted = made
    if not difference(last, owned[0]):
        return merged
    everyone: FieldSet = {}
    for fields in owned:
        everyone = union(everyone, fields)
    present = with_structs(schema, applied_set(schema, merged))
    gone = difference(intersection(present, with_structs(schema, last)), with_structs(schema, everyone))
    # What is left empty is removed with its contents; merging again brings back what was applied as empty.
    pruned: Json = merge(schema, remove(schema, merged, gone), wanted)
    return pruned


def refuse_conflicts(others: Entries, taken: FieldSet) -> None:
    """Raise Conflict where somebody else owns what would be taken."""
    found: dict[str, list[str]] = {}
    for entry in others:
        contested = list(paths(serialise(intersection(entry["fieldsV1"], taken))))
        if contested:
            found.setdefault(_printed(entry), []).extend(contested)
    if not found:
        return
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
        for who, contested in sorted(found.items())
        for path in contested
    ]
    if len(causes) == 1:
        text = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = []
        for who, contested in sorted(found.items()):
            lines += [f"conflicts with {who}:", *(f"- {path}" for path in contested)]
        text = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    raise Conflict(text, details={"causes": causes})


def _printed(entry: Mapping[str, Any]) -> str:
    text = f'"{entry["manager"]}"'
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    return f"{text} using {entry['apiVersion']}" if entry["operation"] == UPDATE else text


def changed(schema: Schema, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldSet, FieldSet]:
    """What whoever made `new` of `old` takes over, and what is gone for everybody."""
    changes = compare(schema, old, new)
    return strip(union(changes.added, changes.modified)), strip(changes.removed)


def _carried(old: Mapping[str, Any] | None, new: Mapping[str, Any], subresource: str) -> Entries:
    """The entries to start from."""
    if not subresource:
        metadata = new.get("metadata")
        entries: Entries | None = metadata.get("managedFields") if metadata else None
        if entries == [{}]:
            return []
        if entries:
            return _sound(entries)
    metadata = old.get("metadata") if old else None
    return _sound(metadata.get("managedFields")) if metadata else []


def _sound(entries: Entries | None) -> Entries:
    """The entries that say what they own: an object may have been written by anybody."""
    return [entry for entry in entries or () if type(entry.get("fieldsV1")) is dict and entry.get("operation")]


def _before_first(live: Mapping[str, Any], api_version: str, schema: Schema) -> Entries:
    """An object that nobody's ownership is known of belongs to one updater, so that applying to it tells conflicts."""
    fields = serialise(strip(applied_set(schema, live)))
    entry = _entry(_BEFORE, UPDATE, api_version, "")
    return [{**entry, "fieldsType": "FieldsV1", "fieldsV1": fields}] if fields else []


def _entry(manager: str, operation: str, api_version: str, subresource: str) -> Json:
    entry = {"manager": manager, "operation": operation, "apiVersion": api_version}
    return {**entry, "subresource": subresource} if subresource else entry


def _complete(entry: Json, fields: FieldSet, stamp: str) -> Json:
    """An entry as the API shows it, in upstream's order of fields."""
    whole = {
        "manager": entry["manager"], "operation": entry["operation"], "apiVersion": entry["apiVersion"], "time": stamp,
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    }  # fmt: skip
    if entry.get("subresource"):
        whole["subresource"] = entry["subresource"]
    return whole


def _identity(entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What makes two entries the same manager; an applier stays itself whatever version it applies."""
    operation = entry.get("operation", "")
    version = "" if operation == APPLY else entry.get("apiVersion", "")
    return entry.get("manager", ""), operation, version, entry.get("subresource", "")


def _without(entries: Entries, taken: FieldSet, lost: FieldSet | None) -> Entries:
    """The entries without fields that were taken over or are gone; entries with nothing left go."""
    kept = []
    for entry in entries:
        fields = difference(entry["fieldsV1"], taken) if taken else entry["fieldsV1"]
        if lost:
            fields = difference(fields, lost)
        if fields == entry["fieldsV1"]:
            kept.append(entry)
        elif fields:
            kept.append({**entry, "fieldsV1": fields})
    return kept


def _give(entries: Entries, entry: Json, taken: FieldSet, now: float) -> Entries:
    identity = _identity(entry)
    mine = next((e for e in entries if _identity(e) == identity), None)
    others = [e for e in entries if e is not mine]
    fields = union(mine["fieldsV1"], taken) if mine is not None else taken
    return [*others, _complete(entry, serialise(fields), time.rfc3339(now))]


def _age(entry: Mapping[str, Any]) -> tuple[bool, str, str]:
    """Oldest first, but before all the entry that the oldest are merged into."""
    manager = entry.get("manager", "")
    return manager != _BUCKET, entry.get("time", ""), manager


def _capped(entries: Entries) -> Entries:
    """At most ten updaters: the oldest of each version are merged into one entry."""
    updaters = sorted((e for e in entries if e["operation"] == UPDATE), key=_age)
    surplus = len(updaters) - MAX_UPDATERS
    if surplus <= 0:
        return entries
    buckets: dict[str, Json] = {}
    merged: list[int] = []
    for updater in updaters:
        version = updater["apiVersion"]
        first = buckets.get(version)
        if surplus <= 0:
            break
        if first is None:
            buckets[version] = updater
            continue
        merged += [id(first), id(updater)]
        fields = serialise(union(first["fieldsV1"], updater["fieldsV1"]))
        bucket = _complete(_entry(_BUCKET, UPDATE, version, ""), fields, updater.get("time", ""))
        buckets[version] = bucket
        surplus -= 1
    kept = [entry for entry in entries if id(entry) not in merged]
    return kept + [bucket for bucket in buckets.values() if bucket["manager"] == _BUCKET and bucket not in kept]


def ordered(entries: Entries) -> Entries:
    """The entries in upstream's order."""
    if len(entries) < 2:
        return entries
    return sorted(entries, key=lambda e: (e["operation"], e.get("time", ""), *_identity(e)))
