"""Ending pods that did nothing wrong: the condition DisruptionTarget says why, then they are deleted.

Source: https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
"""

from __future__ import annotations

from tiphys.api.errors import NotFound
from tiphys.api.resource import Json
from tiphys.api.time import rfc3339
from tiphys.client.client import ResourceClient
from tiphys.kinds.core.pod import Pod


async def disrupt(
    client: ResourceClient[Pod], pod: Pod, reason: str, message: str, *, now: float, forced: bool = False
) -> None:
    """Delete `pod`; `forced` does not wait for a kubelet, and lets a pod that was running end as Failed."""
    status: Json = {}
    held = pod.status.condition("DisruptionTarget")
    if held is None or held.status != "True":
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": rfc3339(now),
        }  # fmt: skip
        status["conditions"] = [condition]
    if forced and not pod.finished:
        status["phase"] = "Failed"
    try:
        if status and not pod.finished:
            patch = {"metadata": {"uid": pod.metadata.uid}, "status": status}
            await client.patch(pod.metadata, patch, kind="strategic", subresource="status")
        await client.delete(pod.metadata, grace=0 if forced else None)
    except NotFound:
        return
