"""Jobs that go by themselves some time after their end."""

from __future__ import annotations

from typing import Any

from tiphys.api.time import rfc3339
from tiphys.controllers.ttl_after_finished import TtlAfterFinishedController
from tiphys.kinds.batch.job import JOBS


async def test_a_job_goes_when_its_time_is_over(cluster: Any):
    cluster.start(TtlAfterFinishedController)
    pod = {"containers": [{"name": "c", "image": "busybox"}], "restartPolicy": "Never"}
    spec = {"template": {"spec": pod}, "ttlSecondsAfterFinished": 60}
    for name in ("ends", "runs"):
        await cluster.create(JOBS, {"metadata": {"name": name}, "spec": dict(spec)})
    now = rfc3339(cluster.clock.time())
    kinds = ("FailureTarget", "Failed")
    conditions = [{"type": each, "status": "True", "lastTransitionTime": now} for each in kinds]
    status = {"startTime": now, "conditions": conditions}
    await cluster.patch(JOBS, "ends", {"status": status}, subresource="status")
    await cluster.clock.advance(59)
    assert (await cluster.get(JOBS, "ends"))["metadata"].get("deletionTimestamp") is None
    await cluster.clock.advance(2)

    async def going() -> bool:
        found = await cluster.get(JOBS, "ends")
        return found is None or found["metadata"].get("deletionTimestamp") is not None

    await cluster.until(going)
    assert "deletionTimestamp" not in (await cluster.get(JOBS, "runs"))["metadata"]
