"""Fixtures for kinds: what the server does to an object around its strategy, without the server."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tiphys.api.resource import ResourceType

Json = dict[str, Any]


@pytest.fixture
def created() -> Callable[[ResourceType[Any], Json], Json]:
    """The object as a creation leaves it: a deep copy, defaulted and prepared."""

    def create(kind: ResourceType[Any], obj: Json) -> Json:
        new = copy.deepcopy(obj)
        new.setdefault("metadata", {}).setdefault("name", "a")
        kind.strategy.default(new)
        kind.strategy.prepare(new, None)
        return new

    return create


@pytest.fixture
def problems(created: Callable[[ResourceType[Any], Json], Json]) -> Callable[[ResourceType[Any], Json], list[str]]:
    """What validation says of a creation, each as `path: detail`."""

    def check(kind: ResourceType[Any], obj: Json) -> list[str]:
        return [str(error) for error in kind.strategy.validate(created(kind, obj), None)]

    return check


@pytest.fixture
def update_problems(created: Callable[[ResourceType[Any], Json], Json]) -> Callable[..., list[str]]:
    """What validation says of an update of `old` by a function that changes it in place."""

    def check(kind: ResourceType[Any], old: Json, change: Callable[[Json], None]) -> list[str]:
        before = created(kind, old)
        new = copy.deepcopy(before)
        change(new)
        kind.strategy.default(new)
        kind.strategy.prepare(new, before)
        return [str(error) for error in kind.strategy.validate(new, before)]

    return check
