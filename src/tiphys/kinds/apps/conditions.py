"""The condition that the statuses of the apps kinds hold."""

from __future__ import annotations

from tiphys.api.meta import Model


class WorkloadCondition(Model):
    """`last_update_time` is of a Deployment only."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_update_time: str | None = None
    last_transition_time: str | None = None
