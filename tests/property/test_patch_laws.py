"""Laws of patches: what holds whatever the objects are."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tiphys.api import facts
from tiphys.api.patch import json_patch, merge_patch, same
from tiphys.api.strategic import strategic_patch

POD = facts.schema("io.k8s.api.core.v1.Pod")

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/~-", max_size=3)
keys = st.text("ab/~0", max_size=2)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)
maps = st.dictionaries(keys, documents, max_size=4)


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(child) for key, child in value.items() if child is not None}
    return value


def operations(path: str, old: Any, new: Any) -> list[dict[str, Any]]:
    """A JSON patch from `old` to `new`, written for this test."""
    if same(old, new):
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in old.keys() | new.keys():
            at = f"{path}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in new:
                found.append({"op": "remove", "path": at})
            elif key not in old:
                found.append({"op": "add", "path": at, "value": new[key]})
            else:
                found += operations(at, old[key], new[key])
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) <= len(new):
        found = [op for index, item in enumerate(old) for op in operations(f"{path}/{index}", item, new[index])]
        return found + [{"op": "add", "path": f"{path}/-", "value": item} for item in new[len(old) :]]
    return [{"op": "replace", "path": path, "value": new}]


@given(maps, maps)
def test_a_json_patch_of_the_difference_leads_from_one_to_the_other(old, new):
    patch = operations("", old, new)
    assert same(json_patch(old, patch), new)
    guarded = [{"op": "test", "path": "", "value": old}, *patch, {"op": "test", "path": "", "value": new}]
    assert same(json_patch(old, guarded), new)


@given(maps, maps)
def test_a_merge_patch_twice_is_a_merge_patch_once(target, patch):
    once = merge_patch(target, patch)
    assert same(merge_patch(once, patch), once)


@given(maps)
def test_an_empty_merge_patch_changes_nothing_and_a_patch_of_nothing_is_itself(target):
    assert same(merge_patch(target, {}), target)
    assert same(merge_patch({}, target), without_nulls(target))


names = st.sampled_from(["a", "b", "c", "d"])
containers = st.lists(
    st.fixed_dictionaries(
        {"name": names},
        optional={"image": names, "env": st.lists(st.fixed_dictionaries({"name": names}), unique_by=str, max_size=3)},
    ),
    unique_by=lambda container: container["name"],
    max_size=4,
)
metadata = st.fixed_dictionaries(
    {}, optional={"labels": st.dictionaries(names, names), "finalizers": st.lists(names, unique=True, max_size=4)}
)
pods = st.fixed_dictionaries(
    {"metadata": metadata, "spec": st.fixed_dictionaries({}, optional={"containers": containers})}
)


@given(pods, pods)
def test_a_strategic_patch_keeps_what_both_have_and_changes_neither(pod, patch):
    before = copy.deepcopy((pod, patch))
    merged = strategic_patch(POD, pod, patch)
    assert (pod, patch) == before
    found = [container["name"] for container in merged["spec"].get("containers", [])]
    expected = {c["name"] for side in (pod, patch) for c in side["spec"].get("containers", [])}
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert set(merged["metadata"].get("finalizers", [])) == {
        f for side in (pod, patch) for f in side["metadata"].get("finalizers", [])
    }


@given(pods, pods)
def test_a_strategic_patch_twice_gives_the_same_items(pod, patch):
    once = strategic_patch(POD, pod, patch)
    twice = strategic_patch(POD, once, patch)
    by_name = {c["name"]: c.get("image") for c in once["spec"].get("containers", [])}
    assert {c["name"]: c.get("image") for c in twice["spec"].get("containers", [])} == by_name


@given(pods, st.permutations(["a", "b", "c", "d"]))
def test_an_order_that_names_every_item_is_obeyed(pod, order):
    directive = {"spec": {"$setElementOrder/containers": [{"name": name} for name in order]}}
    ordered = strategic_patch(POD, pod, directive)
    found = [container["name"] for container in ordered["spec"].get("containers", [])]
    assert found == sorted(found, key=order.index)
