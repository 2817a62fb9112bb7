"""What makes and removes nodes: the protocol between the cluster autoscaler and a cloud, a rack, or this machine.

A package offers one by the entry point `tiphys.node_providers`, called without arguments. Every method may take minutes
and may fail with `ProviderError`; the autoscaler backs off and takes back what was half made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol

from tiphys.kinds.core.node import Node

GROUP = "tiphys.node_providers"


class ProviderError(Exception):
    """Nodes could not be made or removed; the text says why."""


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes that are alike. `size` counts those that were asked for, there or not; `members` may be removed.

    `template` is what a new node will be; without one it is taken to be like a member, or like any node.
    """

    name: str
    minimum: int
    maximum: int
    size: int
    members: tuple[str, ...] = ()
    template: Node | None = None


class NodeProvider(Protocol):
    async def groups(self) -> Sequence[NodeGroup]:
        """All groups as they are now; cheap, for it is asked often. Raises ProviderError."""

    async def grow(self, group: str, count: int) -> None:
        """Have so many more nodes; it may return before they are Ready. Raises ProviderError."""

    async def remove(self, group: str, node: str) -> None:
        """Remove a member, which is drained or never became Ready, with its Node object. Raises ProviderError."""


def installed() -> list[NodeProvider]:
    """Those of other packages; one that cannot be imported is an error."""
    return [point.load()() for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)]
