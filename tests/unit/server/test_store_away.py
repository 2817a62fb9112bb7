"""A server whose store does not answer says so, and goes on telling that it lives."""

from __future__ import annotations

from typing import Any

from tiphys.store import Unavailable


async def test_health_and_metrics_need_no_store(api: Any, monkeypatch: Any) -> None:
    async def away(*_: object) -> None:
        raise Unavailable("no quorum")

    monkeypatch.setattr(api.assembled.cache, "fresh", away)
    assert (await api.respond("GET", "/metrics")).status == 200
    assert (await api.respond("GET", "/livez/ping")).status == 200
    assert (await api.respond("GET", "/livez", exclude="etcd")).status == 200
    for probe in ("livez", "readyz"):
        said = await api.respond("GET", f"/{probe}")
        assert said.status == 500
        assert said.body.decode().splitlines()[2] == "[-]etcd failed: reason withheld"
        assert said.body.decode().endswith(f"{probe} check failed\n")
        assert (await api.respond("GET", f"/{probe}/etcd")).status == 500
    sli = (await api.respond("GET", "/metrics/slis")).body.decode().splitlines()
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 0' in sli
    assert 'kubernetes_healthcheck{name="ping",type="readyz"} 1' in sli
    assert 'kubernetes_healthchecks_total{name="etcd",status="error",type="livez"} 3' in sli
    refused = await api.respond("GET", "/api/v1/namespaces")
    assert refused.status == 503
    assert b"no quorum" in refused.body


async def test_checks_are_shown_one_by_one_and_may_be_left_out(api: Any) -> None:
    said = (await api.respond("GET", "/readyz", verbose="1")).body.decode().splitlines()
    assert {"[+]ping ok", "[+]etcd ok", "[+]informer-sync ok", "[+]poststarthook/crd-informer-synced ok"} < set(said)
    assert said[-1] == "readyz check passed"
    said = (await api.respond("GET", "/livez", verbose="", exclude="etcd")).body.decode().splitlines()
    assert "[+]etcd excluded: ok" in said
    said = (await api.respond("GET", "/livez", verbose="", exclude="nonsense")).body.decode().splitlines()
    assert said[-2] == 'warn: some health checks cannot be excluded: no matches for "nonsense"'
    assert (await api.respond("GET", "/livez/poststarthook/bootstrap-controller")).body == b"ok"
    assert (await api.respond("GET", "/livez/nonsense")).status == 404
