"""Pods between the decision and the binding: they count on their node, and plugins hold and write things for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tiphys.api.errors import ApiError
from tiphys.base.log import Log
from tiphys.base.metrics import Counter
from tiphys.client.transport import Unreachable
from tiphys.scheduler.actions import Actions
from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.plugin import Plugin
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.profile import Profile

_log = Log("scheduler")
ATTEMPTS = Counter("scheduler_schedule_attempts_total", "Attempts to schedule pods, by result.", ("result", "profile"))


class Bindings:
    """Keys are "namespace/name"."""

    def __init__(
        self, cluster: Cluster, profiles: Mapping[str, Profile], actions: Actions, slots: asyncio.Semaphore
    ) -> None:  # fmt: skip
        """`slots` bound the writes under way."""
        self._cluster, self._profiles = cluster, profiles
        self._actions, self._slots = actions, slots
        self._assumed: dict[str, tuple[PodInfo, str]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._assumed

    def assume(self, info: PodInfo, node: str) -> None:
        """Count a pod on its node before it is bound."""
        self._assumed[info.key] = info, node
        self._cluster.place(info, node)
        for plugin in self._profile(info).reserving:
            plugin.reserve(info, node, self._cluster)

    def adopt(self, info: PodInfo, node: str) -> None:
        """The same for a pod that counts there already, with all that plugins hold."""
        self._assumed[info.key] = info, node

    def confirmed(self, key: str) -> None:
        """The pod was seen to have a node."""
        self._assumed.pop(key, None)

    def drop(self, key: str) -> None:
        """A pod that was to be bound is not; nothing to do if it was not to be."""
        if key in self._assumed:
            info, node = self._assumed.pop(key)
            for plugin in self._profile(info).reserving:
                plugin.unreserve(info, node, self._cluster)

    async def help(self, info: PodInfo, refusing: Plugin) -> None:
        """Have a plugin that refused a pod write what may help it."""
        try:
            await refusing.post_filter(info, self._cluster, self._actions.client)
        except (ApiError, Unreachable) as error:
            _log.warning("not helped", pod=info.key, plugin=refusing.name, error=str(error))

    async def prepare(self, info: PodInfo, node: str) -> None:
        """Write what has to be there first. Raises ApiError and Unreachable.

        The caller has a slot, which others may have meanwhile: a plugin may wait long for what it wrote to happen.
        """
        plugins = self._profile(info).binding
        busy = [plugin for plugin in plugins if plugin.pre_flight(info, node, self._cluster)]
        if not busy:
            return
        self._slots.release()
        try:
            for plugin in busy:
                await plugin.pre_bind(info, node, self._cluster, self._actions.client)
        finally:
            await self._slots.acquire()

    async def bind(self, info: PodInfo, node: str) -> None:
        """Raises ApiError and Unreachable."""
        await self._actions.bind(info, node)
        ATTEMPTS.inc("scheduled", info.pod.spec.scheduler_name)

    def take_back(self, info: PodInfo, error: Exception) -> bool:
        """The binding failed; whether the pod waits again."""
        ATTEMPTS.inc("error", info.pod.spec.scheduler_name)
        _log.warning("binding failed", pod=info.key, error=str(error))
        if self._assumed.get(info.key, (None,))[0] is not info:
            # The informer was faster: the pod went, or is bound all the same, and counts where it says.
            return False
        self.drop(info.key)
        self._cluster.remove_pod(info.key)
        return True

    def _profile(self, info: PodInfo) -> Profile:
        return self._profiles[info.pod.spec.scheduler_name]
