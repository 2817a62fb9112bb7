"""A server whose store does not answer says so, and goes on telling that it lives."""

from __future__ import annotations

from typing import Any

from tiphys.store import Unavailable


async def test_health_and_metrics_need_no_store(api: Any, monkeypatch: Any) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("no quorum")

    monkeypatch.setattr(api.assembled.cache, "fresh", away)
    assert (await api.respond("GET", "/livez")).status == 200
    assert (await api.respond("GET", "/metrics")).status == 200
    ready = await api.respond("GET", "/readyz")
    assert ready.status == 500
    assert b"etcd failed" in ready.body
    refused = await api.respond("GET", "/api/v1/namespaces")
    assert refused.status == 503
    assert b"no quorum" in refused.body
