"""What the scheduler writes: bindings, why a pod waits, and evictions that make room."""

from __future__ import annotations

from tiphys.api.errors import ApiError, Conflict, NotFound
from tiphys.api.meta import ObjectMeta
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.base.clock import Clock
from tiphys.base.log import Log
from tiphys.base.metrics import Counter
from tiphys.base.tasks import Supervisor
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder, reference
from tiphys.client.transport import Unreachable
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.kinds.scheduling.podgroup import POD_GROUPS, SCHEDULED, PodGroup
from tiphys.scheduler.pod import PodInfo

UNSCHEDULABLE = "Unschedulable"
_log = Log("scheduler")
_VICTIMS = Counter("scheduler_preemption_victims_total", "Pods evicted to make room for others of higher priority.")


class Actions:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._all, self._client, self._clock = client, client.of(PODS), clock
        self._groups = client.of(POD_GROUPS)
        self._recorders: dict[str, EventRecorder] = {}

    @property
    def client(self) -> Client:
        return self._all

    def recorder(self, profile: str) -> EventRecorder:
        """Events of each profile come from a component of its name."""
        if profile not in self._recorders:
            self._recorders[profile] = EventRecorder(self._all, profile, self._clock)
        return self._recorders[profile]

    def start(self, supervisor: Supervisor) -> None:
        for name, recorder in self._recorders.items():
            supervisor.start(f"{name} events", recorder.run)

    async def bind(self, info: PodInfo, node: str) -> None:
        """Raises ApiError and Unreachable."""
        meta = info.pod.metadata
        binding = {
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }  # fmt: skip
        await self._client.create_json(binding, subresource="binding")
        words = f"Successfully assigned {info.key} to {node}"
        self.recorder(info.pod.spec.scheduler_name).record(reference("v1", "Pod", meta), "Scheduled", words)

    def failed(self, pod: Pod, error: Exception) -> None:
        """Say that a plugin failed at a pod."""
        why = f"a scheduler plugin failed: {type(error).__name__}: {error}"
        about = reference("v1", "Pod", pod.metadata)
        self.recorder(pod.spec.scheduler_name).record(about, "FailedScheduling", why, warning=True)

    async def refuse(self, pod: Pod, why: str, nominated: str) -> None:
        """Say in the pod's condition and in an event why it waits, and in its status where room is made for it."""
        meta = pod.metadata
        recorder = self.recorder(pod.spec.scheduler_name)
        recorder.record(reference("v1", "Pod", meta), "FailedScheduling", why, warning=True)
        known = pod.status.condition("PodScheduled")
        since = known.last_transition_time if known is not None and known.status == "False" else None
        same = known is not None and since and (known.reason, known.message) == (UNSCHEDULABLE, why)
        if same and pod.status.nominated_node_name == nominated:
            return
        condition = {
            "type": "PodScheduled", "status": "False", "reason": UNSCHEDULABLE, "message": why,
            "lastProbeTime": None, "lastTransitionTime": since or rfc3339(self._clock.time()),
        }  # fmt: skip
        status: Json = {"conditions": [condition]}
        if pod.status.nominated_node_name != nominated:
            status["nominatedNodeName"] = nominated or None
        await self._write_status(meta, status)

    async def set_group_scheduled(self, group: PodGroup | None, status: str, reason: str, why: str) -> None:
        """Write the condition of a PodGroup; once it is True it stays so. Nothing to do without a PodGroup."""
        if group is None:
            return
        known = group.scheduled
        if known is not None and (known.status == "True" or (known.status, known.message) == (status, why)):
            return
        since = known.last_transition_time if known is not None and known.status == status else None
        condition = {
            "type": SCHEDULED, "status": status, "reason": reason, "message": why,
            "lastTransitionTime": since or rfc3339(self._clock.time()),
        }  # fmt: skip
        meta = group.metadata
        patch = {"metadata": {"uid": meta.uid}, "status": {"conditions": [condition]}}
        try:
            await self._groups.patch(meta, patch, kind="strategic", subresource="status")
        except (NotFound, Conflict):
            return
        except (ApiError, Unreachable) as error:
            _log.warning("status not written", group=meta.key, error=str(error))

    async def evict(self, victim: PodInfo, preemptor: Pod, node: str) -> bool:
        """Tell a victim's owner why it goes, and delete it; whether it is going."""
        meta = victim.pod.metadata
        by = preemptor.spec.scheduler_name
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": f"{by}: preempting to accommodate a higher priority pod",
            "lastProbeTime": None, "lastTransitionTime": rfc3339(self._clock.time()),
        }  # fmt: skip
        if victim.pod.deleted:
            return True
        if not await self._write_status(meta, {"conditions": [condition]}):
            return False
        try:
            await self._client.delete(meta)
        except (NotFound, Conflict):
            return True
        except (ApiError, Unreachable) as error:
            _log.warning("victim not evicted", pod=meta.key, error=str(error))
            return False
        _VICTIMS.inc()
        words = f"Preempted by pod {preemptor.metadata.uid} on node {node}"
        self.recorder(by).record(reference("v1", "Pod", meta), "Preempted", words)
        return True

    async def _write_status(self, meta: ObjectMeta, status: Json) -> bool:
        try:
            patch = {"metadata": {"uid": meta.uid}, "status": status}
            await self._client.patch(meta, patch, kind="strategic", subresource="status")
        except (NotFound, Conflict):
            # Another pod of that name, or none any more.
            return True
        except (ApiError, Unreachable) as error:
            _log.warning("status not written", pod=meta.key, error=str(error))
            return False
        return True
