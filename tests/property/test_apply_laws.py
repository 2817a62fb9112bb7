"""Laws of field management: what holds whatever is applied, by whomever, in whatever order."""

from __future__ import annotations

import copy
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api import facts, fieldset
from tiphys.api.apply import apply, update_managed
from tiphys.api.compare import applied_set, compare, owned_set

DEPLOYMENT = facts.schema("io.k8s.api.apps.v1.Deployment")

names = st.sampled_from(["a", "b", "c"])
ports = st.lists(
    st.fixed_dictionaries({"containerPort": st.integers(1, 3)}, optional={"protocol": st.sampled_from(["TCP", "UDP"])}),
    unique_by=lambda port: (port["containerPort"], port.get("protocol", "TCP")),
    max_size=3,
)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": names}, optional={"image": names, "ports": ports, "args": st.lists(names, max_size=2)}
    ),
    unique_by=lambda container: container["name"],
    max_size=3,
)
labels = st.dictionaries(names, names, max_size=3)
template = st.fixed_dictionaries(
    {},
    optional={
        "metadata": st.fixed_dictionaries({"labels": labels}),
        "spec": st.fixed_dictionaries({"containers": containers}),
    },
)
specs = st.fixed_dictionaries(
    {}, optional={"replicas": st.integers(0, 3), "paused": st.booleans(), "template": template}
)
managers = st.sampled_from(["one", "two", "three"])


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "n", "namespace": "d", "labels": draw(labels)},
        "spec": draw(specs),
    }


def serve(live: dict[str, Any] | None, config: dict[str, Any], manager: str, now: float = 1.0) -> dict[str, Any]:
    return apply(live, config, manager=manager, api_version="apps/v1", schema=DEPLOYMENT, now=now, force=True)


def put(live: dict[str, Any] | None, new: dict[str, Any], manager: str) -> dict[str, Any]:
    new = copy.deepcopy(new)
    new["metadata"]["managedFields"] = update_managed(
        live, new, manager=manager, api_version="apps/v1", schema=DEPLOYMENT, now=1.0
    )
    return new


histories = st.lists(st.tuples(managers, st.booleans(), configurations()), min_size=1, max_size=4)


def replay(history: list[tuple[str, bool, dict[str, Any]]]) -> dict[str, Any]:
    live: dict[str, Any] | None = None
    for manager, applies, config in history:
        live = serve(live, config, manager) if applies else put(live, config, manager)
    assert live is not None
    return live


@given(histories, managers, configurations())
def test_applying_twice_is_applying_once(history, manager, config):
    once = serve(replay(history), config, manager, now=5.0)
    assert serve(once, config, manager, now=9.0) == once


@given(histories, managers, configurations())
def test_what_was_applied_is_there_and_owned(history, manager, config):
    live = serve(replay(history), config, manager)
    wanted = fieldset.strip(applied_set(DEPLOYMENT, config))
    entry = [e for e in live["metadata"]["managedFields"] if e["manager"] == manager and e["operation"] == "Apply"]
    assert (entry[0]["fieldsV1"] if entry else {}) == wanted
    changes = compare(DEPLOYMENT, live, config)
    assert not fieldset.strip(changes.added)
    assert not fieldset.strip(changes.modified)


@given(histories)
def test_nobody_owns_what_is_not_there(history):
    live = replay(history)
    there = owned_set(DEPLOYMENT, live)
    for entry in live["metadata"]["managedFields"]:
        assert fieldset.difference(entry["fieldsV1"], there) == {}


@given(managers, configurations(), configurations())
def test_one_manager_alone_gets_exactly_what_it_applied_last(manager, first, second):
    live = serve(serve(None, first, manager), second, manager)
    fresh = serve(None, second, manager)
    for obj in (live, fresh):
        del obj["metadata"]["managedFields"]
    assert without_empty_lists(live) == without_empty_lists(fresh)


def without_empty_lists(value: Any) -> Any:
    """As upstream, an associative list without items claims nothing, so it may be there or not."""
    if isinstance(value, dict):
        return {key: without_empty_lists(child) for key, child in value.items() if child != []}
    return [without_empty_lists(item) for item in value] if isinstance(value, list) else value


def sets() -> st.SearchStrategy[dict[str, Any]]:
    return configurations().map(lambda config: applied_set(DEPLOYMENT, config))


@given(sets())
def test_a_set_survives_its_own_text(fields):
    text = orjson.dumps(fieldset.serialise(fields))
    assert fieldset.parse(orjson.loads(text)) == fields
    assert orjson.dumps(fieldset.serialise(orjson.loads(text))) == text


@given(sets(), sets())
def test_the_algebra_of_sets(left, right):
    both = fieldset.union(left, right)
    members = set(fieldset.paths(both))
    assert members == set(fieldset.paths(left)) | set(fieldset.paths(right))
    assert set(fieldset.paths(fieldset.intersection(left, right))) == set(fieldset.paths(left)) & set(
        fieldset.paths(right)
    )
    assert set(fieldset.paths(fieldset.difference(left, right))) == set(fieldset.paths(left)) - set(
        fieldset.paths(right)
    )
    assert fieldset.union(fieldset.difference(both, right), right) == both


@given(configurations())
def test_an_object_does_not_differ_from_itself(config):
    changes = compare(DEPLOYMENT, config, copy.deepcopy(config))
    assert (changes.added, changes.modified, changes.removed) == ({}, {}, {})
