"""Admission plugins and resources of the user's own, found by the entry points of installed packages.

An entry point `tiphys.resources` names a ResourceType that the server serves like its own. One of `tiphys.admission`
names a callable that is given a `Lookup` and returns a `server.admission.Plugin`; these run where webhooks run: their
`admit` before the mutating webhooks, their `validate` before the validating ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import Any

from tiphys.api import errors
from tiphys.api.registry import AnyResource, Registry
from tiphys.api.resource import Json
from tiphys.base.log import Log
from tiphys.server.admission.chain import Attributes, Plugin
from tiphys.server.cache import Cache

ADMISSION, RESOURCES = "tiphys.admission", "tiphys.resources"
_log = Log("admission")


class Lookup:
    """The cluster's objects, for a plugin to read: current, and without a request."""

    def __init__(self, registry: Registry, cache: Cache) -> None:
        self._registry, self._cache = registry, cache

    def get(self, group: str, plural: str, name: str, namespace: str = "") -> Json | None:
        """An object as it is stored, or None. Raises LookupError for a resource that is not served."""
        prefix = self._prefix(group, plural)
        entry = self._cache.of(prefix).items.get(f"{prefix}{namespace}/{name}" if namespace else f"{prefix}{name}")
        return None if entry is None else entry.decode()

    def list(self, group: str, plural: str, namespace: str = "") -> list[Json]:
        """The objects of a namespace, or all. Raises LookupError for a resource that is not served."""
        prefix = self._prefix(group, plural)
        entries = self._cache.of(prefix).scan(f"{prefix}{namespace}/" if namespace else prefix)
        return [entry.decode() for entry in entries]

    def _prefix(self, group: str, plural: str) -> str:
        for version in self._registry.versions(group):
            found = self._registry.get(group, version, plural)
            if found is not None:
                return (found.hub or found).prefix
        raise LookupError(f'no resource "{plural}" of the API group "{group}" is served')


Factory = Callable[[Lookup], Plugin]


class Outside(Plugin):
    """One of them; whatever it fails with besides a refusal becomes an error that names it."""

    def __init__(self, name: str, plugin: Plugin) -> None:
        self._name, self._plugin = name, plugin

    async def admit(self, attributes: Attributes) -> None:
        await self._guarded(self._plugin.admit(attributes))

    async def validate(self, attributes: Attributes) -> None:
        await self._guarded(self._plugin.validate(attributes))

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except errors.ApiError:
            raise
        except Exception as error:
            _log.error("admission plugin failed", plugin=self._name, error=error)
            why = f'admission plugin "{self._name}" failed: {type(error).__name__}: {error}'
            raise errors.InternalError(f"Internal error occurred: {why}") from error


def installed() -> dict[str, Factory]:
    """The plugins of the installed packages, in order of their names; one that cannot be imported is an error."""
    return _loaded(ADMISSION)


def resources() -> list[AnyResource]:
    """The resources of the installed packages; one that cannot be imported is an error."""
    return list(_loaded(RESOURCES).values())


def _loaded(group: str) -> dict[str, Any]:
    return {point.name: point.load() for point in sorted(entry_points(group=group), key=lambda point: point.name)}
