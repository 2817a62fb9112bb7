from __future__ import annotations

import threading

import pytest

from conformance.marks import upstream

pytestmark = pytest.mark.root


def config(name: str, label: str, **data: str) -> dict:
    return {"metadata": {"name": name, "labels": {"watch": label}}, "data": data}


def take(events, count: int) -> list[tuple[str, str]]:
    return [(kind, obj["metadata"]["name"]) for kind, obj in (next(events) for _ in range(count))]


@pytest.fixture
def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


@upstream(
    "[sig-api-machinery] Watchers should observe add, update, and delete watch notifications on configmaps [Conformance]"
)
def test_several_watchers_see_their_own(rest, maps):
    one = rest.events(maps, labelSelector="watch=a", timeoutSeconds=20)
    two = rest.events(maps, labelSelector="watch=b", timeoutSeconds=20)
    both = rest.events(maps, labelSelector="watch in (a,b)", timeoutSeconds=20)
    for label in "ab":
        rest.ok("POST", maps, config(label, label))
        rest.merge(f"{maps}/{label}", {"data": {"n": "1"}})
        rest.merge(f"{maps}/{label}", {"data": {"n": "2"}})
        rest.ok("DELETE", f"{maps}/{label}")
    wanted = ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    assert take(one, 4) == [(kind, "a") for kind in wanted]
    assert take(two, 4) == [(kind, "b") for kind in wanted]
    assert take(both, 8) == [(kind, label) for label in "ab" for kind in wanted]


@upstream(
    "[sig-api-machinery] Watchers should be able to start watching from a specific resource version [Conformance]"
)
def test_a_watch_starts_where_it_is_told(rest, maps):
    rest.ok("POST", maps, config("a", "x"))
    first = rest.merge(f"{maps}/a", {"data": {"n": "1"}})
    rest.merge(f"{maps}/a", {"data": {"n": "2"}})
    rest.ok("DELETE", f"{maps}/a")
    events = rest.events(maps, resourceVersion=first["metadata"]["resourceVersion"], timeoutSeconds=20)
    (kind, changed), (last, gone) = next(events), next(events)
    assert (kind, changed["data"], last, gone["data"]) == ("MODIFIED", {"n": "2"}, "DELETED", {"n": "2"})


@upstream(
    "[sig-api-machinery] Watchers should be able to restart watching from the last resource version observed by the previous watch [Conformance]"
)
def test_a_closed_watch_goes_on_where_it_ended(rest, maps):
    events = rest.events(maps, labelSelector="watch=x", timeoutSeconds=20)
    rest.ok("POST", maps, config("a", "x"))
    kind, seen = next(events)
    assert kind == "ADDED"
    events.close()
    rest.merge(f"{maps}/a", {"data": {"n": "1"}})
    rest.ok("DELETE", f"{maps}/a")
    version = seen["metadata"]["resourceVersion"]
    again = rest.events(maps, labelSelector="watch=x", resourceVersion=version, timeoutSeconds=20)
    assert take(again, 2) == [("MODIFIED", "a"), ("DELETED", "a")]


@upstream(
    "[sig-api-machinery] Watchers should observe an object deletion if it stops meeting the requirements of the selector [Conformance]"
)
def test_leaving_the_selection_is_a_deletion(rest, maps):
    events = rest.events(maps, labelSelector="watch=x", timeoutSeconds=20)
    rest.ok("POST", maps, config("a", "x"))
    rest.merge(f"{maps}/a", {"metadata": {"labels": {"watch": "y"}}})
    rest.merge(f"{maps}/a", {"data": {"unseen": "1"}})
    rest.merge(f"{maps}/a", {"metadata": {"labels": {"watch": "x"}}})
    rest.merge(f"{maps}/a", {"data": {"seen": "1"}})
    rest.ok("DELETE", f"{maps}/a")
    kinds = [kind for kind, _ in take(events, 5)]
    assert kinds == ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]


@upstream("[sig-api-machinery] Watchers should receive events on concurrent watches in same order [Conformance]")
def test_all_watches_see_one_order(rest, maps):
    rest.ok("POST", maps, config("start", "x"))
    start = rest.ok("GET", maps)["metadata"]["resourceVersion"]

    def write() -> None:
        for number in range(10):
            rest.ok("POST", maps, config(f"m{number}", "x"))
            rest.merge(f"{maps}/m{number}", {"data": {"n": "1"}})
            if number % 2:
                rest.ok("DELETE", f"{maps}/m{number}")

    writer = threading.Thread(target=write)
    writer.start()
    first = rest.events(maps, resourceVersion=start, timeoutSeconds=20)
    versions = [next(first)[1]["metadata"]["resourceVersion"] for _ in range(25)]
    writer.join()
    for index in range(0, 24, 4):
        later = rest.events(maps, resourceVersion=versions[index], timeoutSeconds=20)
        seen = [next(later)[1]["metadata"]["resourceVersion"] for _ in range(24 - index)]
        assert seen == versions[index + 1 :]
