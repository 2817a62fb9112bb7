"""What was refused for want of quota is tried again when the quota changes, and not only after its back-off.

Upstream waits for the back-off of its work queues, which grows to minutes.
Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from tiphys.api.errors import Forbidden
from tiphys.api.quantity import parse
from tiphys.client.informer import Informers
from tiphys.client.workqueue import WorkQueue
from tiphys.kinds.core.resourcequota import RESOURCE_QUOTAS, ResourceQuota


class QuotaRoom:
    """Of one controller; `queue` gets the keys."""

    def __init__(self, informers: Informers, queue: WorkQueue) -> None:
        self._queue = queue
        self._refused: dict[str, set[str]] = {}
        informers.of(RESOURCE_QUOTAS).add_handler(self._changed)

    def failed(self, key: str, error: Exception) -> None:
        """A reconcile of `key` failed."""
        if isinstance(error, Forbidden) and "exceeded quota" in error.message:
            self._refused.setdefault(key.partition("/")[0], set()).add(key)

    def _changed(self, old: ResourceQuota | None, new: ResourceQuota | None) -> None:
        quota = new or old
        if quota is not None and quota.metadata.namespace in self._refused and _grew(old, new):
            for key in self._refused.pop(quota.metadata.namespace):
                self._queue.add(key)


def _grew(old: ResourceQuota | None, new: ResourceQuota | None) -> bool:
    """Whether there may be more room than before."""
    if new is None or old is None:
        return new is None
    if (old.spec, old.status.hard) != (new.spec, new.status.hard):
        return True
    before, now = old.status.used, new.status.used
    return any(parse(now.get(name, "0")) < parse(used) for name, used in before.items() if now.get(name) != used)
