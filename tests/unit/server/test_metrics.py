"""/metrics and /debug as an administrator sees them."""

from __future__ import annotations

from tiphys.api.http import User
from tiphys.base import metrics

MAPS = "/api/v1/namespaces/default/configmaps"


async def lines(api) -> list[str]:
    response = await api.respond("GET", "/metrics", accept="")
    assert response.status == 200
    return response.body.decode().splitlines()


async def test_requests_and_objects_are_counted_under_upstreams_names(api):
    await api.ok("POST", MAPS, {"metadata": {"name": "a"}})
    found = await lines(api)
    what = 'group="",version="v1",resource="configmaps",subresource="",scope="namespace",component="apiserver"'
    for series in (
        f'apiserver_request_total{{verb="POST",dry_run="",{what},code="201"}}',
        f'apiserver_request_duration_seconds_count{{verb="POST",dry_run="",{what}}}',
        'apiserver_resource_objects{group="",resource="configmaps"}',
        'etcd_request_duration_seconds_count{operation="create",type="configmaps"}',
    ):
        assert any(line.startswith(series) for line in found), series
    assert 'apiserver_current_inflight_requests{request_kind="mutating"} 0' in found


async def test_asking_for_what_is_not_there_makes_no_new_series(api):
    async def ask(number: int) -> None:
        await api("GET", f"/apis/g{number}/v1/namespaces/default/things{number}")
        await api("GET", f"{MAPS}/a/sub{number}")
        await api(f"VERB{number}", MAPS)
        await api("GET", f"/apis/h{number}/v1/things{number}", user=None)

    await ask(0)
    before = len(metrics.render().splitlines())
    for number in range(1, 20):
        await ask(number)
    assert len(metrics.render().splitlines()) == before


async def test_profiles_are_for_administrators(api):
    response = await api.respond("GET", "/debug/pprof/goroutine", accept="")
    assert b"thread" in response.body
    code, _ = await api("GET", "/debug/pprof/profile", seconds="999")
    assert code == 400
    someone = User("someone", groups=("system:authenticated",))
    assert (await api("GET", "/debug/pprof/goroutine", user=someone))[0] == 403
