"""ResourceQuota: a namespace uses no more than it may, however many ask at once.

What a write would use is added to the status of each quota that it falls under before it is stored, by a write of its
own that expects the quota as it was read; so servers beside this one cannot both give away the last piece. What the
write did not use after all is given back. The controller of the same name counts anew what went.
Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from tiphys import store
from tiphys.api import errors, quota
from tiphys.api.pod_resources import Amounts, parsed
from tiphys.api.quantity import ZERO
from tiphys.api.resource import Json
from tiphys.base.clock import Clock
from tiphys.server import objects
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache, Entry

_QUOTAS = "/registry/core/resourcequotas/"
_TRIES = 20
_NAME = "ResourceQuota"
# Of these an update may use more than before; of all others only creation counts.
_GROWING = ("services", "persistentvolumeclaims")


class ResourceQuota(Plugin):
    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache, self._clock = cache, clock
        self._quotas = cache.of(_QUOTAS)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def reserve(self, attributes: Attributes) -> None:
        if attributes.obj is None or not attributes.resource.namespaced or not _wanted(attributes):
            return
        if next(self._quotas.scan(f"{_QUOTAS}{attributes.namespace}/"), None) is None:
            return
        delta = self._delta(attributes)
        if not delta:
            return
        charged: dict[str, Amounts] = {}
        attributes.state[_NAME] = charged
        async with self._lock(attributes.namespace):
            for _ in range(_TRIES):
                await self._cache.fresh()
                try:
                    await self._charge(attributes, delta, charged)
                except store.Conflict:
                    continue
                return
        raise errors.denied(
            attributes.resource.group, attributes.resource.plural, attributes.name,
            f"unable to charge the quotas of namespace {attributes.namespace}: they keep changing; please try again",
        )  # fmt: skip

    async def settled(self, attributes: Attributes, *, stored: bool) -> None:
        charged: dict[str, Amounts] = attributes.state.pop(_NAME, None) or {}
        if stored or not charged or attributes.dry_run:
            return
        async with self._lock(attributes.namespace):
            for key, delta in charged.items():
                await self._give_back(key, delta)

    def _lock(self, namespace: str) -> asyncio.Lock:
        lock = self._locks.get(namespace)
        if lock is None:
            lock = self._locks[namespace] = asyncio.Lock()
        return lock

    def _delta(self, attributes: Attributes) -> Amounts:
        """What the write uses more than what was there before."""
        resource, now = attributes.resource, self._clock.time()
        used = quota.usage(resource.group, resource.plural, attributes.obj or {}, now)
        before: Amounts = {}
        if attributes.old is not None:
            before = quota.usage(resource.group, resource.plural, attributes.old, now)
        delta = {name: amount - before.get(name, ZERO) for name, amount in used.items()}
        return {name: amount for name, amount in delta.items() if amount > ZERO}

    async def _charge(self, attributes: Attributes, delta: Amounts, charged: dict[str, Amounts]) -> None:
        """Check every quota, then charge those that are not charged yet. Raises Forbidden, store.Conflict."""
        due: list[tuple[Entry, Json, Amounts]] = []
        for entry in self._quotas.scan(f"{_QUOTAS}{attributes.namespace}/"):
            if entry.key not in charged:
                found = entry.decode()
                amounts = _due(attributes, found, delta)
                if amounts:
                    due.append((entry, found, amounts))
        for entry, found, amounts in due:
            if not attributes.dry_run:
                await self._store(entry, found, amounts)
            charged[entry.key] = amounts

    async def _store(self, entry: Entry, found: Json, amounts: Amounts) -> None:
        used = found["status"]["used"]
        for name, amount in amounts.items():
            used[name] = str(max(parsed(used).get(name, ZERO) + amount, ZERO))
        await self._cache.store.put(entry.key, objects.encode(found), entry.revision)

    async def _give_back(self, key: str, delta: Amounts) -> None:
        for _ in range(_TRIES):
            await self._cache.fresh()
            entry = self._quotas.items.get(key)
            if entry is None:
                return
            try:
                await self._store(entry, entry.decode(), {name: -amount for name, amount in delta.items()})
            except store.Conflict:
                continue
            return


def _wanted(attributes: Attributes) -> bool:
    if attributes.operation == "CREATE":
        return not attributes.subresource
    if attributes.operation != "UPDATE" or attributes.resource.group:
        return False
    plural = attributes.resource.plural
    return plural in _GROWING if not attributes.subresource else attributes.is_for("", "pods", "resize")


def _due(attributes: Attributes, found: Json, delta: Amounts) -> Amounts:
    """What `delta` takes of the quota `found`. Raises Forbidden if that is too much."""
    resource, obj = attributes.resource, attributes.obj or {}
    status, name = found.get("status") or {}, found["metadata"]["name"]
    if not quota.matches(found, resource.group, resource.plural, obj):
        return {}
    hard, used = parsed(status.get("hard") or found["spec"].get("hard")), parsed(status.get("used"))
    names = quota.concerned(resource.group, resource.plural, hard)
    if attributes.is_of("", "pods"):
        missing = quota.unconstrained(names, obj)
        if missing:
            raise _refused(attributes, f"failed quota: {name}: must specify {missing}")
    unknown = sorted(n for n in names if n not in used)
    if unknown:
        raise _refused(attributes, f"status unknown for quota: {name}, resources: {','.join(unknown)}")
    amounts = {n: delta[n] for n in names if n in delta}
    over = {n for n, amount in amounts.items() if used[n] + amount > hard[n]}
    if over:
        asked, had, may = ({n: source[n] for n in over} for source in (amounts, used, hard))
        why = f"requested: {quota.shown(asked)}, used: {quota.shown(had)}, limited: {quota.shown(may)}"
        raise _refused(attributes, f"exceeded quota: {name}, {why}")
    return amounts


def _refused(attributes: Attributes, why: str) -> errors.Forbidden:
    return errors.denied(attributes.resource.group, attributes.resource.plural, attributes.name, why)
