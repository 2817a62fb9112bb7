"""What plugins know of the cluster besides nodes and their pods: volumes, devices, whatever they ask for.

A view is a model without I/O. The scheduler feeds it from informers, `tiphys why` from lists; a plugin gets its own by
`cluster.view(Volumes)`, of which there is one for each cluster, however many profiles use the plugin.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tiphys.api.resource import ResourceType
from tiphys.scheduler.pod import PodInfo


class View:
    """`resources` are the kinds whose objects it is fed."""

    resources: ClassVar[tuple[ResourceType[Any], ...]] = ()

    def changed(self, resource: ResourceType[Any], old: Any | None, new: Any | None) -> str | None:
        """Take over a change: `old` is None for what is new, `new` for what is gone.

        The event, as `retry_on` of plugins names it, if the change may make a refused pod fit.
        """
        return None

    def count(self, info: PodInfo, row: int, sign: int) -> None:
        """A pod counts on a row from now on (`sign` 1), or no longer (-1)."""
