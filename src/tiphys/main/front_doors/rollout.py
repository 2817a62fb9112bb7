"""Following workloads until they run as wanted, and noticing an update that fails.

A new pod fails when its container has ended or cannot start. An update has failed when the share of failed pods is
above the workload's ratio (as Swarm's max_failure_ratio), or when the controller says that it makes no progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from tiphys.cli.errors import CliError
from tiphys.cli.transport import Query
from tiphys.cli.verbs.rollout import progress
from tiphys.main.front_doors.live import PLURALS, WORKLOADS, Live
from tiphys.main.front_doors.release import key, service_of
from tiphys.stacks.objects import MAX_FAILURE_RATIO

Json = dict[str, Any]
_BROKEN = frozenset({
    "CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName",
    "CreateContainerError", "CreateContainerConfigError", "RunContainerError",
})  # fmt: skip


@dataclass(frozen=True)
class Before:
    """What there was before the change: pods' UIDs, and the workloads' generations by kind and name."""

    pods: frozenset[str]
    generations: dict[tuple[str, str], int]


@dataclass(frozen=True)
class Following:
    """`timeout` is in seconds, 0 for ever; `only` are the services that count, all if it is empty."""

    timeout: float
    say: Callable[[str], None]
    only: frozenset[str] = frozenset()


def before(live: Live, selector: str) -> Before:
    pods = frozenset(pod["metadata"]["uid"] for pod in live.list("Pod", selector))
    found = [obj for kind in ("Deployment", "DaemonSet", "StatefulSet") for obj in live.list(kind, selector)]
    return Before(pods, {key(obj): obj["metadata"].get("generation", 0) for obj in found})


def failure(workload: Json, pods: Iterable[Json], old: Before) -> str:
    """Why the update of a workload has failed; "" if it has not. Pods and workloads that are new are given time."""
    generation = old.generations.get(key(workload))
    if generation is None or generation == workload["metadata"].get("generation", 0):
        return ""
    fresh = [pod for pod in pods if pod["metadata"]["uid"] not in old.pods and service_of(pod) == service_of(workload)]
    broken = [reason for pod in fresh if (reason := broken_by(pod))]
    wanted = workload["spec"].get("replicas") or (workload.get("status") or {}).get("desiredNumberScheduled") or 1
    ratio = float((workload["metadata"].get("annotations") or {}).get(MAX_FAILURE_RATIO) or 0)
    return broken[0] if len(broken) / wanted > ratio else ""


def broken_by(pod: Json) -> str:
    """What is wrong with a pod's container, or ""."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        state = status.get("state") or {}
        waiting = state.get("waiting") or {}
        ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
        if ended and ended.get("exitCode"):
            return f"{pod['metadata']['name']}: ended with {ended.get('exitCode')}"
        if waiting.get("reason") in _BROKEN:
            return f"{pod['metadata']['name']}: {waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    return ""


def settled(workload: Json) -> tuple[str, bool]:
    """What is waited for, and whether it is done. Raises CliError for one that cannot get there."""
    if workload["kind"] != "Job":
        return progress(PLURALS[workload["kind"]][1], workload)
    name, status = workload["metadata"]["name"], workload.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "Failed" and condition["status"] == "True":
            raise CliError(f"job {name} failed: {condition.get('message', '')}")
        if condition["type"] == "Complete" and condition["status"] == "True":
            return f"job {name} complete", True
    return f"job {name}: {status.get('succeeded', 0)} of {workload['spec'].get('completions', 1)} have ended", False


def follow(live: Live, selector: str, old: Before, how: Following) -> dict[str, str]:
    """Wait until every workload is settled or has failed: why, by service.

    Raises CliError when the time is over.
    """
    deadline = time.monotonic() + how.timeout if how.timeout else None
    failed: dict[str, str] = {}
    said: dict[str, str] = {}
    while True:
        listed = orjson.loads(live.transport.call("GET", live.path("Pod"), query={"labelSelector": selector}))
        waiting = []
        for workload in [obj for kind in WORKLOADS for obj in live.list(kind, selector)]:
            name = service_of(workload)
            if name in failed or (how.only and name not in how.only) or workload["metadata"].get("deletionTimestamp"):
                continue
            try:
                text, done = settled(workload)
            except CliError as error:
                failed[name] = error.message
                continue
            if why := "" if done else failure(workload, listed.get("items") or (), old):
                failed[name] = why
                continue
            if said.get(name) != text:
                said[name] = text
                how.say(f"{name}: {text}")
            if not done:
                waiting.append(name)
        if not waiting:
            return failed
        if deadline is not None and time.monotonic() > deadline:
            raise CliError(f"not settled in {how.timeout:g} s: {', '.join(waiting)}")
        _next_event(live, selector, listed["metadata"]["resourceVersion"])


def _next_event(live: Live, selector: str, revision: str) -> None:
    """Return at the next change of a pod, or after a second: the last change may be of a workload's status alone."""
    query: Query = {"labelSelector": selector, "watch": True, "resourceVersion": revision, "timeoutSeconds": 1}
    for _ in live.transport.lines(live.path("Pod"), query=query):
        return
