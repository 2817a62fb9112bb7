"""delete and deletecollection: preconditions, grace, finalizers, propagation.

An object goes from the store only when nothing holds it: no finalizer and no grace left. Until then it carries a
deletionTimestamp. Source: https://kubernetes.io/docs/concepts/architecture/garbage-collection/ and
https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from tiphys import store
from tiphys.api import errors
from tiphys.api.http import Response
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.server import objects, output
from tiphys.server.admission.chain import Chain
from tiphys.server.cache import Cache, Entry
from tiphys.server.call import Call, Options
from tiphys.server.durable import durable, stale
from tiphys.server.reads import Reads, selection_of
from tiphys.server.writes import Writes

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
_TRIES = 5


class Deletion:
    def __init__(self, cache: Cache, reads: Reads, writes: Writes, admission: Chain) -> None:
        self._cache, self._reads, self._writes, self._admission = cache, reads, writes, admission
        self._store = cache.store
        writes.remove = self.finish

    async def delete(self, call: Call, *, admitted: bool = False) -> Response:
        """`admitted` tells that admission was asked before, about the request that this deletion is a part of."""
        options = _options(call)
        for _ in range(_TRIES):
            entry = await self._reads.entry(call)
            try:
                return await self._delete(call, entry, options, admitted=admitted)
            except store.Conflict:
                continue
        raise stale(call)

    async def delete_collection(self, call: Call) -> Response:
        """Delete every selected object; answers with the list of what was there."""
        options = _options(call)
        chosen = selection_of(call)
        await self._cache.fresh()
        entries = list(self._reads.collection(call).scan(chosen.prefix))
        if not chosen.is_plain:
            entries = [entry for entry in await self._reads.shown(call, entries) if chosen.matches(entry)]
        for entry in entries:
            target = replace(call.target, name=entry.name, namespace=entry.namespace or call.target.namespace)
            one = replace(call, target=target)
            try:
                await self._delete(one, (await self._reads.shown(call, [entry]))[0], options)
            except store.Conflict:
                await self.delete(one)
            except errors.NotFound:
                continue
        meta = {"resourceVersion": str(self._cache.revision)}
        shown = await self._reads.shown(call, entries)
        return Response(200, await output.list_body(call.resource, shown, meta, call.form, call.now))

    async def finish(self, call: Call, entry: Entry, new: Json) -> Response | None:
        """An update of an object that is being deleted: remove it once nothing holds it any more."""
        meta = new["metadata"]
        if meta.get("finalizers") or _own(call, new) or meta.get("deletionGracePeriodSeconds"):
            return None
        if not call.dry_run:
            gone = self._writes.attributes(call, "DELETE", None, entry.decode())
            async with self._admission.reserved(gone):
                await durable(self._store.delete(entry.key, entry.revision), "delete", call.hub)
        return await self._writes.answer(call, entry.key, await self._writes.encoded(call, new), entry.revision)

    async def _delete(self, call: Call, entry: Entry, options: Options, *, admitted: bool = False) -> Response:
        old = entry.decode()
        meta = old["metadata"]
        _check_preconditions(call, options, meta)
        attributes = self._writes.attributes(call, "DELETE", None, old)
        attributes.name = entry.name
        attributes.options |= options.shown()
        if not admitted:
            await self._admission.admit(attributes)
            await self._admission.validate(attributes)
        finalizers = _finalizers(meta.get("finalizers") or [], options.propagation, call.hub.default_propagation)
        if not options.propagation and call.hub.deletion_warning:
            call.warnings.append(call.hub.deletion_warning)
        grace = call.hub.grace(old, options.grace) if call.hub.grace is not None else 0
        held = bool(finalizers or _own(call, old))
        if not held and not grace:
            async with self._admission.reserved(attributes):
                return await self._remove(call, entry, meta)
        if meta.get("deletionTimestamp") and not _shortens(meta, grace, finalizers):
            return Response(200, output.as_version(call.resource, entry))
        return await self._mark(call, entry, finalizers, grace)

    async def _remove(self, call: Call, entry: Entry, meta: Json) -> Response:
        revision = entry.revision
        if not call.dry_run:
            revision = await durable(self._store.delete(entry.key, entry.revision), "delete", call.hub)
        details: Json = {"name": entry.name, "kind": call.resource.plural, "uid": meta.get("uid", "")}
        if call.resource.group:
            details["group"] = call.resource.group
        # The revision of the removal, so that our own clients can wait until their informers have seen it.
        listed = {"resourceVersion": str(revision)}
        status = {"kind": "Status", "apiVersion": "v1", "metadata": listed, "status": "Success", "details": details}
        return Response(200, orjson.dumps(status))

    async def _mark(self, call: Call, entry: Entry, finalizers: list[str], grace: int) -> Response:
        """Set the deletionTimestamp: the end of the grace period, in whole seconds."""
        if call.resource.view is not None:
            # Only metadata changes, so what is stored stays of the version that it is.
            entry = self._reads.collection(call).items.get(entry.key) or entry
        new = entry.decode()
        meta = new["metadata"]
        meta["deletionTimestamp"] = rfc3339(call.now + grace)
        meta["deletionGracePeriodSeconds"] = grace
        if "generation" in meta:
            meta["generation"] += 1
        meta.pop("finalizers", None)
        if finalizers:
            meta["finalizers"] = finalizers
        call.hub.strategy.prepare(new, entry.decode())
        data = objects.encode(new)
        if call.dry_run:
            return await self._writes.answer(call, entry.key, data, entry.revision)
        revision = await durable(self._store.put(entry.key, data, entry.revision), "update", call.hub)
        return await self._writes.answer(call, entry.key, data, revision)


def _options(call: Call) -> Options:
    body: Any = None
    if call.request.body:
        body = objects.parse(call.request.body, call.request.headers.get("content-type", ""))
        if not isinstance(body, dict):
            raise errors.BadRequest("DeleteOptions must be a JSON object")
        call.body_dry_run = tuple(map(str, body.get("dryRun") or ()))
    return Options.of(call, body)


def _check_preconditions(call: Call, options: Options, meta: Json) -> None:
    for name, wanted, found in (
        ("UID", options.uid, meta.get("uid", "")),
        ("ResourceVersion", options.resource_version, meta.get("resourceVersion", "")),
    ):
        if wanted and wanted != found:
            raise errors.conflict(
                call.resource.group, call.resource.plural, meta["name"],
                f"Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {found}",
            )  # fmt: skip


def _finalizers(finalizers: list[str], propagation: str, default: str) -> list[str]:
    """The finalizers with those that the propagation policy asks of the garbage collector."""
    if not propagation and not {ORPHAN, FOREGROUND}.intersection(finalizers):
        propagation = default
    if not propagation:
        return finalizers
    kept = [name for name in finalizers if name not in (ORPHAN, FOREGROUND)]
    if propagation == "Orphan":
        kept.append(ORPHAN)
    elif propagation == "Foreground":
        kept.append(FOREGROUND)
    return kept


def _own(call: Call, obj: Json) -> bool:
    own = call.hub.own_finalizers
    return bool(own is not None and own(obj))


def _shortens(meta: Json, grace: int, finalizers: list[str]) -> bool:
    """A second delete of a waiting object counts only if it leaves less grace or other finalizers."""
    return grace < (meta.get("deletionGracePeriodSeconds") or 0) or finalizers != (meta.get("finalizers") or [])
