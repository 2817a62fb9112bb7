"""What a server throws away by itself, on a virtual clock."""

from __future__ import annotations

import pytest

from tiphys.base.clock import settle
from tiphys.base.tasks import Supervisor
from tiphys.server.upkeep import Upkeep
from tiphys.store import Compacted

EVENTS = "/api/v1/namespaces/default/events"


def event(name: str) -> dict:
    about = {"kind": "Pod", "namespace": "default", "name": "p"}
    return {"metadata": {"name": name}, "involvedObject": about, "reason": "r", "message": "m", "type": "Normal"}


async def test_events_go_an_hour_after_their_last_change(api):
    await api.ok("POST", EVENTS, event("old"))
    upkeep = Upkeep(api.assembled.cache, api.clock)
    async with Supervisor(api.clock) as supervisor:
        supervisor.start("events", upkeep.expire_events)
        await api.clock.advance(1800)
        await api.ok("POST", EVENTS, event("new"))
        await api.clock.advance(1801)
        assert [item["metadata"]["name"] for item in (await api.ok("GET", EVENTS))["items"]] == ["new"]
        await api.clock.advance(3600)
        assert (await api.ok("GET", EVENTS))["items"] == []


async def test_history_is_kept_for_two_spans(api):
    store = api.assembled.cache.store
    before = store.revision
    upkeep = Upkeep(api.assembled.cache, api.clock, history=300)
    async with Supervisor(api.clock) as supervisor:
        supervisor.start("compaction", upkeep.compact)
        await settle()
        await api.ok("POST", EVENTS, event("a"))
        middle = store.revision
        await api.clock.advance(301)
        await api.ok("POST", EVENTS, event("b"))
        assert (await store.list("/registry/", revision=middle)).revision == middle
        await api.clock.advance(301)
        await api.ok("POST", EVENTS, event("c"))
        await api.clock.advance(301)
        with pytest.raises(Compacted):
            await store.list("/registry/", revision=before)
