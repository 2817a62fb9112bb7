"""The pods of this node: one worker each, woken by the API, by the runtime, and by their ConfigMaps and Secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from tiphys.base.backoff import Backoff
from tiphys.base.log import Log
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet import eviction, log_rotation, shutdown
from tiphys.kubelet.admission import admit
from tiphys.kubelet.eviction import Candidate
from tiphys.kubelet.node_facts import Pressure
from tiphys.kubelet.pod_devices import NotPrepared
from tiphys.kubelet.runtime import Container, PodRuntime, RuntimeEvent, RuntimeFault
from tiphys.kubelet.services import Services
from tiphys.kubelet.steps import Phase
from tiphys.kubelet.worker import PodWorker

_log = Log("kubelet.pods")
_REOPEN = Backoff(initial=0.1, maximum=5.0)
_ORPHAN_GRACE = 30.0


class Pods:
    def __init__(self) -> None:
        self._workers: dict[str, PodWorker] = {}
        self._services: Services | None = None
        # Whether the API told of all pods of this node: until then what is not known is not thereby unwanted.
        self.complete: Callable[[], bool] = lambda: True
        self._closing = False

    def __iter__(self) -> Iterator[PodWorker]:
        return iter(list(self._workers.values()))

    def start(self, services: Services) -> None:
        """From here on pods are worked on. Call once, before `changed` is given to the informer."""
        self._services = services

    @property
    def _use(self) -> Services:
        if self._services is None:
            raise AssertionError("Pods.start was not called")
        return self._services

    def get(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of the pod that has the name now."""
        for worker in self._workers.values():
            meta = worker.pod.metadata
            if (meta.namespace, meta.name) == (namespace, name):
                return worker
        return None

    def changed(self, old: Pod | None, new: Pod | None) -> None:
        """Handler of the informer of this node's pods."""
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            worker = self._workers.get(str(old.metadata.uid))
            if worker is not None:
                worker.removed()
        if new is None:
            return
        uid = str(new.metadata.uid)
        if uid in self._workers:
            self._workers[uid].update(new)
        else:
            worker = self._workers[uid] = PodWorker(new, self._use)
            self._admit(worker)
            self._use.supervisor.start(f"pod {new.metadata.key}", lambda: self._run(worker))

    def _admit(self, worker: PodWorker) -> None:
        """Refuse a new pod for which there is no room; one that was here before is not judged again."""
        if worker.pod.status.start_time or worker.pod.deleted or worker.pod.finished:
            return
        if self._closing:
            worker.evict(shutdown.REFUSED)
            return
        others = [other.pod for other in self if other is not worker and other.phase is not Phase.TERMINATED]
        end = admit(worker.pod, others, self._use.allocatable, self._use.node_labels())
        if end is not None:
            worker.evict(end)

    async def _run(self, worker: PodWorker) -> None:
        await worker.run()
        self._workers.pop(worker.uid, None)

    async def close(self) -> None:
        """End all pods by priority and take no more; returns when that is over, or its time is."""
        self._closing = True
        await shutdown.end_pods(self, shutdown.bands(self._use.config), self._use.clock)

    async def told(self) -> None:
        """Return once the API knows all that happened to pods here."""
        await self._use.statuses.settled()

    def objects_changed(self, uid: str) -> None:
        worker = self._workers.get(uid)
        if worker is not None:
            worker.objects_changed()

    def driver_arrived(self) -> None:
        """Pods whose devices could not be made ready may start now."""
        for worker in self:
            if worker.pod.resource_claims:
                worker.may_start()

    async def follow_runtime(self) -> None:
        """Wake workers when something happens to their containers. Runs until cancelled."""
        failures = 0
        while True:
            try:
                async for event in self._use.runtime.events():
                    failures = 0
                    await self._happened(event)
            except RuntimeFault as fault:
                _log.warning("the runtime's events broke off", error=str(fault))
            await self._use.clock.sleep(_REOPEN.delay(failures))
            failures += 1

    async def _happened(self, event: RuntimeEvent) -> None:
        if event.image:
            for uid in self._use.images.waiting_for(event.image) & self._workers.keys():
                self._workers[uid].may_start()
            return
        for uid in list(self._workers) if event.uid == "" else [event.uid]:
            if uid in self._workers:
                self._workers[uid].wake()

    async def relist(self) -> None:
        """The safety net under the events: once in a while compare with all that the runtime has."""
        while True:
            await self._use.clock.sleep(self._use.config.relist_seconds)
            try:
                await self.compare()
                await self._rotate_logs()
            except RuntimeFault as fault:
                _log.warning("cannot list the runtime's pods", error=str(fault))

    async def compare(self) -> None:
        """Wake the workers whose containers are not as last observed, and remove pods that nobody wants."""
        complete = self.complete()
        present = await self._use.runtime.pods()
        for uid, found in present.items():
            worker = self._workers.get(uid)
            if worker is None and complete:
                await self._remove_orphan(uid, found)
            elif worker is not None and _differs(worker.found, found):
                worker.wake()
        if complete:
            await self._use.host.orphans(set(self._workers))
            try:
                await self._use.devices.orphans(set(self._workers))
            except NotPrepared as error:
                _log.warning("devices of pods that are gone cannot be taken back yet", error=str(error))

    async def _rotate_logs(self) -> None:
        for worker in self:
            for container in worker.found.containers:
                if container.running and container.log_path:
                    path, now = Path(container.log_path), self._use.clock.time()
                    await log_rotation.rotate(self._use.runtime, container.id, path, now)

    async def relieve(self, pressure: Pressure) -> None:
        """Evict one pod for what runs short; the next look tells whether that was enough."""
        if any(worker.phase is Phase.TERMINATING for worker in self):
            # What is going already has not given back its share yet.
            return
        resource = "memory" if pressure.memory else "ephemeral-storage"
        used: dict[str, int] = {}
        try:
            for usage in await self._use.runtime.usage():
                used[usage.uid] = used.get(usage.uid, 0) + (usage.working_set if pressure.memory else usage.disk)
        except RuntimeFault as fault:
            _log.warning("cannot see what pods use, so none is evicted", error=str(fault))
            return
        syncing = [worker for worker in self if worker.phase is Phase.SYNCING]
        chosen = eviction.choose((Candidate(w.pod, used.get(w.uid, 0)) for w in syncing), resource)
        for worker in syncing:
            if chosen is not None and worker.pod is chosen.pod:
                _log.warning("evicting a pod", pod=worker.pod.metadata.key, short=resource)
                worker.evict(eviction.evicted(chosen, resource))

    async def _remove_orphan(self, uid: str, found: PodRuntime) -> None:
        _log.info("removing a pod that the API does not have", uid=uid)
        runtime = self._use.runtime
        try:
            running = [item for item in found.containers if item.running]
            await asyncio.gather(*(runtime.stop_container(item.id, _ORPHAN_GRACE) for item in running))
            for sandbox in found.sandboxes:
                await runtime.stop_sandbox(sandbox.id)
                await runtime.remove_sandbox(sandbox.id)
        except RuntimeFault as fault:
            _log.warning("cannot remove an orphaned pod yet", uid=uid, error=str(fault))


def _differs(known: PodRuntime, present: PodRuntime) -> bool:
    def facts(items: tuple[Container, ...]) -> set[tuple[str, str]]:
        return {(item.id, item.state.value) for item in items}

    sandboxes = {(item.id, item.ready) for item in known.sandboxes}
    return facts(known.containers) != facts(present.containers) or sandboxes != {
        (item.id, item.ready) for item in present.sandboxes
    }
