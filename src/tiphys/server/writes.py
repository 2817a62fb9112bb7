"""create, update and patch: one road for every resource and subresource that changes a stored object.

decode -> change -> default -> admit -> prepare -> validate -> managed fields -> store, under optimistic concurrency:
the write expects the revision it was made from and starts over from the newest when it lost a race (unless the client
named a resourceVersion). Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson

from tiphys import store
from tiphys.api import errors
from tiphys.api.apply import update_managed
from tiphys.api.http import Response
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.base.clock import Clock
from tiphys.server import objects, output
from tiphys.server.admission.chain import Attributes, Chain
from tiphys.server.cache import Cache, Entry, splice
from tiphys.server.call import Call, options_of
from tiphys.server.changes import Change, changer
from tiphys.server.custom.ownership import settle_other_versions
from tiphys.server.durable import durable, stale
from tiphys.server.heads import PLAIN
from tiphys.server.metadata import check_metadata
from tiphys.server.reads import Reads
from tiphys.store import Record, Revision, Store

_TRIES = 5
# How many generated names are tried.
_NAMES = 8


class Writes:
    def __init__(self, cache: Cache, reads: Reads, admission: Chain, clock: Clock) -> None:
        self._cache, self._reads, self._admission, self._clock = cache, reads, admission, clock
        self._store: Store = cache.store
        # Raises Forbidden where the user may change objects of a kind but not create them.
        self.authorize_create: Callable[[Call], None] = lambda call: None
        # Called with (call, old, new) for an update that took away the last reason to wait for deletion.
        self.remove: Callable[[Call, Entry, Json], Awaitable[Response | None]] | None = None

    async def create(self, call: Call) -> Response:
        obj = objects.decode_object(call, call.request.body)
        return await self.create_object(call, obj)

    async def create_object(self, call: Call, obj: Json, *, managed: bool = False) -> Response:
        """Store a new object, given in the request's version; `managed` tells that it brings its own bookkeeping.

        A generated name that is taken is generated anew, as upstream's RetryGenerateName (KEP-4420) has it.
        """
        if obj["metadata"].get("name") or not obj["metadata"].get("generateName"):
            return await self._create(call, obj, managed=managed)
        pristine = orjson.dumps(obj)
        for _ in range(_NAMES - 1):
            with suppress(errors.AlreadyExists):
                return await self._create(call, obj, managed=managed)
            obj = orjson.loads(pristine)
        return await self._create(call, obj, managed=managed)

    async def _create(self, call: Call, obj: Json, *, managed: bool) -> Response:
        if call.resource.terminating:
            raise errors.denied(
                call.resource.group, call.resource.plural, obj["metadata"].get("name", ""),
                "create not allowed while custom resource definition is terminating",
            )  # fmt: skip
        objects.place(obj, call)
        objects.stamp_new(obj, call, self.now())
        obj = to_hub(call, obj)
        objects.with_spec(call.hub, obj)
        call.hub.strategy.default(obj)
        if not managed:
            self.manage(call, obj, None)
        attributes = self.attributes(call, "CREATE", obj, None)
        await self._admission.admit(attributes)
        call.hub.strategy.prepare(obj, None)
        if call.hub.status and call.hub.structural is None:
            # As upstream's, a built-in object always shows its status, however empty.
            obj.setdefault("status", {})
        self.check(call, obj, None)
        await self._admission.validate(attributes)
        async with self._admission.reserved(attributes):
            return await self._insert(call, obj)

    async def _insert(self, call: Call, obj: Json) -> Response:
        name = obj["metadata"]["name"]
        key = call.hub.key(name, call.target.namespace)
        data = await self.encoded(call, obj)
        if call.dry_run:
            if key in self._reads.collection(call).items:
                raise errors.exists(call.resource.group, call.resource.plural, name)
            return await self._written(call, key, data, 0, 201)
        try:
            revision = await durable(self._store.put(key, data, store.ABSENT), "create", call.hub)
        except store.Conflict:
            if "generateName" in obj["metadata"]:
                raise errors.AlreadyExists(
                    f'{call.resource.group_resource} "{name}" already exists, the server was not able to generate a '
                    "unique name for the object"
                ) from None
            raise errors.exists(call.resource.group, call.resource.plural, name) from None
        return await self._written(call, key, data, revision, 201)

    async def update(self, call: Call) -> Response:
        new = objects.decode_object(call, call.request.body)
        objects.place(new, call)
        change = changer(call, new)
        return await self.modify(call, change, create=change.creates)

    async def patch(self, call: Call) -> Response:
        change = changer(call, None)
        return await self.modify(call, change, create=change.creates)

    async def modify(self, call: Call, change: Change, *, create: bool = False) -> Response:
        """Apply `change` to the newest state until the write holds."""
        tries = 1 if change.conditional else _TRIES
        while True:
            try:
                entry = await self._reads.entry(call)
            except errors.NotFound:
                if not create or call.target.subresource:
                    raise
                self.authorize_create(call)
                return await self.create_object(call, change.new_object(call), managed=change.manages)
            try:
                return await self._attempt(call, change, entry)
            except store.Conflict:
                tries -= 1
                if tries <= 0:
                    raise stale(call) from None

    async def _attempt(self, call: Call, change: Change, entry: Entry) -> Response:
        if change.sound:
            return await self._store_change(call, entry, change.apply(call, entry.decode()))
        old = entry.decode()
        # Decoded a second time, so that a change may work in place.
        shown = entry.decode()
        new = change.apply(call, shown if call.resource.from_hub is None else call.resource.from_hub(shown))
        meta = new["metadata"]
        version = meta.get("resourceVersion")
        if version and version != str(entry.revision):
            raise stale(call)
        if meta.get("uid") and meta["uid"] != old["metadata"].get("uid"):
            raise errors.conflict(
                call.resource.group, call.resource.plural, call.target.name,
                f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: "
                f"{old['metadata'].get('uid')}",
            )  # fmt: skip
        new = to_hub(call, new)
        objects.carry_over(new, old)
        change.confine(call, new, old)
        objects.with_spec(call.hub, new)
        if call.hub.strategy.defaults_status or not objects.only_status(new, old):
            call.hub.strategy.default(new)
        if not change.manages:
            self.manage(call, new, old)
        attributes = self.attributes(call, "UPDATE", new, old)
        attributes.shape = change.shape(call)
        if not change.admitted:
            await self._admission.admit(attributes)
        if attributes.mutated:
            objects.carry_over(new, old)
            change.confine(call, new, old)
        call.hub.strategy.prepare(new, old)
        if "generation" in old["metadata"] and objects.spec_changed(call, new, old):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        self.check(call, new, old)
        if not change.admitted:
            await self._admission.validate(attributes)
        async with self._admission.reserved(attributes):
            await settle_other_versions(call, new, old, applied=change.manages)
            return await self._store_change(call, entry, new)

    async def _store_change(self, call: Call, entry: Entry, new: Json) -> Response:
        data = await self.encoded(call, new)
        if self.remove is not None and new["metadata"].get("deletionTimestamp"):
            removed = await self.remove(call, entry, new)
            if removed is not None:
                return removed
        if call.dry_run or self._is_stored(call, entry, data):
            return await self._written(call, entry.key, data, entry.revision)
        revision = await durable(self._store.put(entry.key, data, entry.revision), "update", call.hub)
        return await self._written(call, entry.key, data, revision)

    def _is_stored(self, call: Call, entry: Entry, data: bytes) -> bool:
        """Whether these very bytes are in the store; what is shown may be more than that."""
        stored = entry if call.resource.view is None else self._reads.collection(call).items.get(entry.key)
        return stored is not None and splice(data, entry.revision) == stored.data

    async def encoded(self, call: Call, obj: Json) -> bytes:
        """The bytes to store of an object of the request's version."""
        view = call.resource.view
        return objects.encode(obj if view is None else await view.to_store(obj))

    async def admit_body(self, call: Call, body: Json, operation: str = "CREATE") -> None:
        """Admission of a request that stores no object of its own; `body` may be changed."""
        attributes = self.attributes(call, operation, body, None)
        group, version, kind = attributes.kind_in(call.resource)
        body |= {"kind": kind, "apiVersion": f"{group}/{version}" if group else version}
        await self._admission.admit(attributes)
        await self._admission.validate(attributes)

    def now(self) -> str:
        return rfc3339(self._clock.time())

    def attributes(self, call: Call, operation: str, obj: Json | None, old: Json | None) -> Attributes:
        name = call.target.name or (obj or {}).get("metadata", {}).get("name", "")
        return Attributes(
            operation, call.hub, name, call.target.namespace, call.user, obj, old, call.target.subresource,
            call.dry_run, options_of(call, operation), call.warnings, call.resource, seconds=call.seconds,
        )  # fmt: skip

    def check(self, call: Call, new: Json, old: Json | None) -> None:
        """Raise Invalid with everything that is wrong."""
        problems = list(check_metadata(new, old, call.hub))
        strategy = call.hub.strategy
        problems += (
            strategy.validate(new, None) if old is None else strategy.validate_part(new, old, call.target.subresource)
        )
        version = call.resource.strategy
        if version is not strategy and call.hub.structural is None:
            # A built-in version that asks for more than others do.
            problems += version.validate(new, old)
        call.warnings.extend(strategy.warnings(new, old))
        if problems:
            name = new["metadata"].get("name", "")
            raise errors.invalid_object(call.resource.group, call.resource.kind, name, problems)

    def manage(self, call: Call, new: Json, old: Json | None) -> None:
        """Book the fields that this write changed to its manager: what it asked for and the defaults of that.

        Before admission and the kind's own preparation, so that what they set belongs to nobody: an applier that takes
        over from this manager would remove it otherwise. A status that comes with a creation is not taken.
        """
        schema = objects.schema_of(call.hub)
        if schema is None:
            return
        asked = {k: v for k, v in new.items() if k != "status"} if old is None and call.hub.status else new
        managed = update_managed(
            old, asked, manager=call.manager, api_version=call.resource.api_version,
            subresource=call.target.subresource, schema=schema, now=call.now,
        )  # fmt: skip
        new["metadata"]["managedFields"] = managed

    async def _written(self, call: Call, key: str, data: bytes, revision: Revision, status: int = 200) -> Response:
        """As `answer`, for what the request's version made whole itself."""
        view = call.resource.view
        if view is None or view.converts:
            return await self.answer(call, key, data, revision, status)
        if not call.dry_run:
            view.wrote(key, revision)
        return self._plain(call, key, data, revision, status)

    async def answer(self, call: Call, key: str, data: bytes, revision: Revision, status: int = 200) -> Response:
        """What was made of a write, given the bytes for the store; revision 0 tells that they were not stored."""
        view = call.resource.view
        if view is not None:
            [entry] = await view.show([Entry(Record(key, data, revision, revision), PLAIN)])
            body = output.object_body(call.resource, entry, call.form, self._clock.time())
            return Response(status, body if revision else body.replace(b'"resourceVersion":"0",', b"", 1))
        return self._plain(call, key, data, revision, status)

    def _plain(self, call: Call, key: str, data: bytes, revision: Revision, status: int) -> Response:
        if call.form.shape == "object" and call.resource.from_hub is None:
            # A dry run stored nothing, so the object has no resourceVersion to show.
            return Response(status, splice(data, revision) if revision else data)
        entry = Entry(Record(key, data, revision, revision), self._reads.collection(call).heads)
        return Response(status, output.object_body(call.resource, entry, call.form, self._clock.time()))


def to_hub(call: Call, obj: Json) -> Json:
    return obj if call.resource.to_hub is None else call.resource.to_hub(obj)
