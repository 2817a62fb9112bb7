"""The Registry: which resources are served now; built-ins from the start, CustomResourceDefinitions as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tiphys.api.resource import ResourceType

AnyResource = ResourceType[Any]


class Registry:
    """Lookup by (group, version, plural) and by (group, version, kind); `subscribe` hears of every change."""

    def __init__(self, resources: Iterable[AnyResource] = ()) -> None:
        self._by_plural: dict[tuple[str, str, str], AnyResource] = {}
        self._by_kind: dict[tuple[str, str, str], AnyResource] = {}
        self._listeners: list[Callable[[], None]] = []
        self.update(add=resources)

    def update(self, *, add: Iterable[AnyResource] = (), remove: Iterable[AnyResource] = ()) -> None:
        for resource in remove:
            self._by_plural.pop((resource.group, resource.version, resource.plural), None)
            self._by_kind.pop((resource.group, resource.version, resource.kind), None)
        for resource in add:
            self._by_plural[resource.group, resource.version, resource.plural] = resource
            self._by_kind[resource.group, resource.version, resource.kind] = resource
        for listener in self._listeners:
            listener()

    def subscribe(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def get(self, group: str, version: str, plural: str) -> AnyResource | None:
        return self._by_plural.get((group, version, plural))

    def kind(self, group: str, version: str, kind: str) -> AnyResource | None:
        return self._by_kind.get((group, version, kind))

    def same(self, resource: AnyResource) -> list[AnyResource]:
        """Every served resource that shows the objects of `resource`, itself included: its versions."""
        prefix = (resource.hub or resource).prefix
        return [other for other in self._by_plural.values() if (other.hub or other).prefix == prefix]

    def versions(self, group: str) -> list[str]:
        """Versions of `group`, in order of registration, which is order of preference."""
        return list(dict.fromkeys(r.version for r in self._by_plural.values() if r.group == group))

    def groups(self) -> list[str]:
        return list(dict.fromkeys(r.group for r in self._by_plural.values()))

    def __iter__(self) -> Iterator[AnyResource]:
        return iter(list(self._by_plural.values()))
