"""Admission: what may still change or refuse a write after authorization and before storage.

A plugin is a class with `admit` (may change `attributes.obj`), `validate` (may only refuse), or both. The chain runs
every `admit` in order, then every `validate`. What must be set aside for an object (an address, a port) is taken in
`reserve`, when nothing but the store can refuse any more, and `settled` tells how that ended. Plugins of the house
live in `server/plugins/`, users' own come by the entry point `tiphys.admission`.
Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tiphys.api.http import User
from tiphys.api.registry import AnyResource
from tiphys.api.resource import Json


@dataclass(slots=True)
class Attributes:
    """One admission request. `obj` is None for deletions, `old` for creations; both are of the stored version."""

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

    def is_for(self, group: str, plural: str, subresource: str = "") -> bool:
        found = self.resource
        return found.group == group and found.plural == plural and self.subresource == subresource


class Plugin:
    """Base of every plugin. Refuse by raising an `ApiError`, as a rule `errors.denied(...)`."""

    async def admit(self, attributes: Attributes) -> None: ...

    async def validate(self, attributes: Attributes) -> None: ...

    async def reserve(self, attributes: Attributes) -> None: ...

    async def settled(self, attributes: Attributes, *, stored: bool) -> None:
        """After the write, also of a deletion: `stored` tells whether it took place."""


class Chain:
    def __init__(self, plugins: Sequence[Plugin] = ()) -> None:
        self._admit = [plugin.admit for plugin in plugins if type(plugin).admit is not Plugin.admit]
        self._validate = [plugin.validate for plugin in plugins if type(plugin).validate is not Plugin.validate]
        self._reserve = [plugin.reserve for plugin in plugins if type(plugin).reserve is not Plugin.reserve]
        self._settled = [plugin.settled for plugin in plugins if type(plugin).settled is not Plugin.settled]

    async def admit(self, attributes: Attributes) -> None:
        for admit in self._admit:
            await admit(attributes)

    async def validate(self, attributes: Attributes) -> None:
        for validate in self._validate:
            await validate(attributes)

    @asynccontextmanager
    async def reserved(self, attributes: Attributes) -> AsyncIterator[None]:
        """Hold the reservations around the write; they are given back if it fails."""
        stored = False
        try:
            for reserve in self._reserve:
                await reserve(attributes)
            yield
            stored = True
        finally:
            for settled in self._settled:
                await settled(attributes, stored=stored)
