"""Admission: what may still change or refuse a write after authorization and before storage.

A plugin is a class with `admit` (may change `attributes.obj`), `validate` (may only refuse), or both. The chain runs
every `admit` in order, then every `validate`. What must be set aside for an object (an address, a port) is taken in
`reserve`, when nothing but the store can refuse any more, and `settled` tells how that ended. Plugins of the house
live in `server/admission/plugins/`, users' own come by the entry point `tiphys.admission`.
Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from tiphys.api.http import User
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json

# Combinations of operation and resource for which it is kept who is asked.
_REMEMBERED = 1024


class Shape(Protocol):
    """How a subresource is shown where that is not its object itself, such as the Scale of a Deployment."""

    # Group, version and kind.
    kind: tuple[str, str, str]

    def show(self, obj: Json) -> Json: ...

    def take(self, obj: Json, shown: Json) -> None:
        """Carry a change of what was shown over to `obj`, in place."""


@dataclass(slots=True)
class Attributes:
    """One admission request. `obj` is None for deletions, `old` for creations; both are of the stored version.

    A request that stores nothing of its own (CONNECT, a binding, an eviction) has its options or its body for `obj`.
    """

    operation: str
    resource: AnyResource
    name: str
    namespace: str
    user: User
    obj: Json | None
    old: Json | None = None
    subresource: str = ""
    dry_run: bool = False
    options: Json = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    # The version that the client used; `resource` is the stored one, and what this is if nothing else is said.
    requested: AnyResource = None  # type: ignore[assignment]
    shape: Shape | None = None
    # For the audit log, by "PLUGIN/key".
    annotations: dict[str, str] = field(default_factory=dict)
    # A plugin sets `reinvoke` when it changed the object in a way that the plugins before it should see; then every
    # `admit` runs once more, under `reinvoking`.
    reinvoke: bool = False
    reinvoking: bool = False
    # Set when webhooks or policies changed the object.
    mutated: bool = False
    # What a plugin keeps for the length of the request, by its name.
    state: dict[str, Any] = field(default_factory=dict)
    # How long webhooks may take altogether.
    seconds: float = 34.0
    _until: float = 0.0
    # `obj` and `old` of a custom resource in other versions, by the version and which of the two.
    _converted: dict[tuple[str, bool], Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.requested = self.requested or self.resource

    def seconds_left(self, now: float) -> float:
        """`now` is of the event loop's clock; the first question starts the time."""
        self._until = self._until or now + self.seconds
        return self._until - now

    def is_for(self, group: str, plural: str, subresource: str = "") -> bool:
        return self.is_of(group, plural) and self.subresource == subresource

    def is_of(self, group: str, plural: str) -> bool:
        """The same with any subresource."""
        return self.resource.group == group and self.resource.plural == plural

    def kind_in(self, resource: AnyResource) -> tuple[str, str, str]:
        """Group, version and kind of what is shown, in the version `resource`."""
        if self.shape is not None:
            return self.shape.kind
        own = resource.group, resource.version
        for sub in resource.subresources if self.subresource else ():
            if sub.name == self.subresource:
                return *((sub.group, sub.version) if sub.version else own), sub.kind
        return *own, resource.kind

    async def convert_for(self, resource: AnyResource) -> None:
        """Let `shown_in` show a custom resource in another version, for which somebody may have to be asked.

        Raises ApiError.
        """
        if resource.structural is None or resource.api_version == self.resource.api_version or self.shape is not None:
            return
        for obj in (self.obj, self.old):
            if obj is not None and (resource.api_version, obj is self.old) not in self._converted:
                made = await self.converted(resource, orjson.loads(orjson.dumps(obj)), resource)
                self._converted[resource.api_version, obj is self.old] = made

    async def converted(self, other: AnyResource, obj: Json, into: AnyResource) -> Json:
        """An object of the request's version or the version `other` in the version `into`, one of the two."""
        # Of two versions one is not the stored one, so that there is a view of it.
        view = other.view or self.resource.view
        found: Json = await view.convert(obj, into.api_version)
        return found

    def changed(self) -> None:
        """Note that `obj` is not as it was."""
        self.mutated = True
        self._converted.clear()

    def shown_in(self, resource: AnyResource, obj: Json | None) -> Json | None:
        """`obj` or `old` as the version `resource` shows it, found by `matching`; not to be changed."""
        if obj is None:
            return None
        if self.shape is not None:
            return self.shape.show(obj)
        if resource.structural is not None:
            return self._converted.get((resource.api_version, obj is self.old), obj)
        if resource.from_hub is None or self.kind_in(resource)[2] != resource.kind:
            return obj
        return resource.from_hub(obj)


class Plugin:
    """Base of every plugin. Refuse by raising an `ApiError`, as a rule `errors.denied(...)`.

    It is asked only about `operations` on `resources` (group, plural), their subresources among them; None means all.
    """

    operations: Collection[str] | None = None
    resources: Collection[tuple[str, str]] | None = None

    def concerns(self, operation: str, group: str, plural: str) -> bool:
        if self.operations is not None and operation not in self.operations:
            return False
        return self.resources is None or (group, plural) in self.resources

    async def admit(self, attributes: Attributes) -> None: ...

    async def validate(self, attributes: Attributes) -> None: ...

    async def reserve(self, attributes: Attributes) -> None: ...

    async def settled(self, attributes: Attributes, *, stored: bool) -> None:
        """After the write, also of a deletion: `stored` tells whether it took place."""


class _Links:
    """What some plugins do, method by method."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.admit = [plugin.admit for plugin in plugins if type(plugin).admit is not Plugin.admit]
        self.validate = [plugin.validate for plugin in plugins if type(plugin).validate is not Plugin.validate]
        self.reserve = [plugin.reserve for plugin in plugins if type(plugin).reserve is not Plugin.reserve]
        self.settled = [plugin.settled for plugin in plugins if type(plugin).settled is not Plugin.settled]


class Chain:
    def __init__(self, plugins: Sequence[Plugin] = ()) -> None:
        self._plugins = tuple(plugins)
        # By operation, group and plural: most plugins have to do with one or two resources.
        self._links: dict[tuple[str, str, str], _Links] = {}

    def _of(self, attributes: Attributes) -> _Links:
        key = attributes.operation, attributes.resource.group, attributes.resource.plural
        links = self._links.get(key)
        if links is None:
            if len(self._links) >= _REMEMBERED:
                self._links.clear()
            links = self._links[key] = _Links([plugin for plugin in self._plugins if plugin.concerns(*key)])
        return links

    async def admit(self, attributes: Attributes) -> None:
        links = self._of(attributes)
        for admit in links.admit:
            await admit(attributes)
        if attributes.reinvoke:
            attributes.reinvoking = True
            for admit in links.admit:
                await admit(attributes)

    async def validate(self, attributes: Attributes) -> None:
        for validate in self._of(attributes).validate:
            await validate(attributes)

    @asynccontextmanager
    async def reserved(self, attributes: Attributes) -> AsyncIterator[None]:
        """Hold the reservations around the write; they are given back if it fails."""
        stored, links = False, self._of(attributes)
        try:
            for reserve in links.reserve:
                await reserve(attributes)
            yield
            stored = not attributes.dry_run
        finally:
            for settled in links.settled:
                await settled(attributes, stored=stored)
