"""What to do next for one pod: a pure function of its spec, of what was observed, and of the time.

`decide` says which steps to take now and when to look again; it never waits and never fails. Its vocabulary is in
steps.py.
Upstream: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ and .../sidecar-containers/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tiphys.kinds.core.container import Container
from tiphys.kinds.core.pod import Pod
from tiphys.kubelet import runtime
from tiphys.kubelet.identity import container_hash
from tiphys.kubelet.resources import container_resources
from tiphys.kubelet.restart import should_restart
from tiphys.kubelet.runtime import PodRuntime
from tiphys.kubelet.steps import (
    SANDBOX,
    BackOff,
    CreateSandbox,
    End,
    EndPod,
    LookAgain,
    Observed,
    Phase,
    Release,
    RemoveContainer,
    ResizeContainer,
    StartContainer,
    Step,
    StopContainer,
    StopSandbox,
)


def decide(pod: Pod, observed: Observed, now: float) -> list[Step]:
    """The steps to take now; steps that start or stop several containers may run together."""
    if observed.phase is Phase.TERMINATED:
        return []
    if observed.phase is Phase.TERMINATING:
        return _terminate(pod, observed)
    end = _must_end(pod, observed, now)
    if end is not None:
        return [end]
    return [*_sync(pod, observed, now), *_deadline(pod, observed)]


def _must_end(pod: Pod, observed: Observed, now: float) -> EndPod | None:
    if observed.end is not None:
        return EndPod(observed.end)
    deadline = pod.spec.active_deadline_seconds
    if deadline is not None and observed.started_at and now >= observed.started_at + deadline:
        return EndPod(End("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"))
    if pod.deleted or pod.finished or finished(pod, observed.found):
        return EndPod()
    return None


def _deadline(pod: Pod, observed: Observed) -> Iterator[Step]:
    if pod.spec.active_deadline_seconds is not None and observed.started_at:
        yield LookAgain(observed.started_at + pod.spec.active_deadline_seconds)


def finished(pod: Pod, found: PodRuntime) -> bool:
    """Whether the pod's work is over: every main container ended for good, or an init container failed for good."""
    for container in pod.spec.init_containers:
        latest = found.latest(container.name)
        if latest is None or not latest.exited or container.sidecar:
            continue
        if latest.exit_code != 0 and not should_restart(pod, container, latest.exit_code, init=True):
            return True
    for container in pod.spec.containers:
        latest = found.latest(container.name)
        if latest is None or not latest.exited or should_restart(pod, container, latest.exit_code, init=False):
            return False
    return bool(pod.spec.containers)


def _sync(pod: Pod, observed: Observed, now: float) -> list[Step]:
    found = observed.found
    sandbox = found.sandbox
    stale = [StopSandbox(old.id, remove=True) for old in found.sandboxes[1:]]
    if (at := observed.blocked.get(SANDBOX, 0.0)) > now and (sandbox is None or not sandbox.ready):
        return [LookAgain(at)]
    if sandbox is None:
        return [CreateSandbox(0)]
    if not sandbox.ready:
        # Its network is gone and with it the pod's address: everything starts again in a new one.
        stops = [_stop(pod, observed, item, "Pod sandbox changed, it will be killed and re-created.")
                 for item in found.containers if item.running]  # fmt: skip
        return [*stops, StopSandbox(sandbox.id), CreateSandbox(sandbox.attempt + 1)]
    steps, initialized = _init_steps(pod, observed, now)
    if initialized:
        for container in pod.spec.containers:
            steps += _container_steps(pod, observed, container, now)
    for container in pod.spec.ephemeral_containers:
        if found.latest(container.name) is None:
            steps += _start(pod, observed, container, "ephemeral", now)
    return [*stale, *steps, *_garbage(pod, found)]


def _current(found: PodRuntime, name: str) -> runtime.Container | None:
    """The newest container of a name if it is of the present sandbox; one of an older sandbox does not count."""
    latest = found.latest(name)
    sandbox = found.sandbox
    return latest if latest is not None and sandbox is not None and latest.sandbox_id == sandbox.id else None


def initialized(pod: Pod, found: PodRuntime) -> bool:
    """Whether init containers are over for this sandbox: a main container exists in it."""
    return any(_current(found, container.name) is not None for container in pod.spec.containers)


def _init_steps(pod: Pod, observed: Observed, now: float) -> tuple[list[Step], bool]:
    """Init containers one after the other; the second value says whether the main ones may start."""
    found = observed.found
    over = initialized(pod, found)
    steps: list[Step] = []
    names = [container.name for container in pod.spec.init_containers]
    for position, container in enumerate(pod.spec.init_containers):
        latest = _current(found, container.name)
        later = any(_current(found, name) is not None for name in names[position + 1 :])
        if container.sidecar:
            steps += _container_steps(pod, observed, container, now, kind="init")
            up = latest is not None and latest.running and observed.verdict(latest).started
            if not up and not over and not later:
                return steps, False
            continue
        if over or later:
            continue
        if latest is not None and latest.exited and latest.exit_code == 0:
            continue
        if latest is None or latest.exited:
            steps += _start(pod, observed, container, "init", now)
        elif not observed.verdict(latest).alive:
            steps.append(_stop(pod, observed, latest, f"Init container {container.name} failed its probe"))
        return steps, False
    return steps, True


def _container_steps(
    pod: Pod, observed: Observed, container: Container, now: float, kind: str = "main"
) -> list[Step]:  # fmt: skip
    """Keep one container that is meant to run as its spec and its probes say."""
    latest = _current(observed.found, container.name)
    if latest is None:
        older = observed.found.latest(container.name)
        init = kind == "init"
        if older is not None and older.exited and not should_restart(pod, container, older.exit_code, init=init):
            return []
        return _start(pod, observed, container, kind, now)
    if latest.state is runtime.State.CREATED and container.name in observed.busy:
        return []
    if latest.state is runtime.State.CREATED:
        # Created by a kubelet that died before starting it: cheaper to make anew than to trust.
        return [RemoveContainer(latest.id)]
    if latest.exited:
        if not should_restart(pod, container, latest.exit_code, init=kind == "init"):
            return []
        return _start(pod, observed, container, kind, now)
    if latest.annotations.get(runtime.HASH, "") not in ("", container_hash(container)):
        return [_stop(pod, observed, latest, f"Container {container.name} definition changed, will be restarted")]
    verdict = observed.verdict(latest)
    if not verdict.alive:
        return [_stop(pod, observed, latest, verdict.message, verdict.grace)]
    return _resize(pod, observed, container, latest)


def _resize(pod: Pod, observed: Observed, container: Container, latest: runtime.Container) -> list[Step]:
    """Follow a change of requests and limits, by a restart where the container's resizePolicy asks for one."""
    has = latest.resources
    if has is None or container.name in observed.busy:
        return []
    wants = container_resources(pod, container, 0)
    changed = set()
    if (has.cpu_shares, has.cpu_quota) != (wants.cpu_shares, wants.cpu_quota):
        changed.add("cpu")
    if has.memory != wants.memory:
        changed.add("memory")
    policies = {policy.resource_name: policy.restart_policy for policy in container.resize_policy}
    if any(policies.get(name) == "RestartContainer" for name in changed):
        return [_stop(pod, observed, latest, f"Container {container.name} resize requires restart")]
    return [ResizeContainer(latest.id, container.name)] if changed else []


def _start(pod: Pod, observed: Observed, container: Container, kind: str, now: float) -> list[Step]:
    latest = observed.found.latest(container.name)
    if container.name in observed.busy:
        return []
    if latest is not None and latest.exited:
        until = observed.crashes.until(container.name, latest.finished_at)
        if until > now:
            return [BackOff(container.name, latest.id, observed.crashes.delay(container.name), until)]
    if (at := observed.blocked.get(container.name, 0.0)) > now:
        return [LookAgain(at)]
    return [StartContainer(container.name, _attempt(pod, container, latest), kind)]


def _attempt(pod: Pod, container: Container, latest: runtime.Container | None) -> int:
    """The restart count of the next start. Where the runtime lost its memory (a reboot), the API's count goes on."""
    if latest is not None:
        return latest.attempt + 1
    every = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    said = next((item for item in every if item.name == container.name), None)
    return said.restart_count + 1 if said is not None and said.container_id else 0


def grace_of(pod: Pod, observed: Observed) -> float:
    """Seconds a container may take to end: what the deletion says, else what ended the pod, else the spec."""
    if pod.deleted and pod.metadata.deletion_grace_period_seconds is not None:
        return float(pod.metadata.deletion_grace_period_seconds)
    if observed.end is not None and observed.end.grace is not None:
        return observed.end.grace
    return float(pod.spec.termination_grace_period_seconds)


def _stop(
    pod: Pod, observed: Observed, container: runtime.Container, message: str, grace: float | None = None, stage: int = 0
) -> StopContainer:  # fmt: skip
    seconds = grace_of(pod, observed) if grace is None else grace
    return StopContainer(container.id, container.name, seconds, message, stage)


def _terminate(pod: Pod, observed: Observed) -> list[Step]:
    """Main containers first, all at once; sidecars after them, last started first; then the sandbox."""
    found = observed.found
    sidecars = [container.name for container in pod.spec.init_containers if container.sidecar]
    steps: list[Step] = []
    for item in found.containers:
        if item.running:
            stage = len(sidecars) - sidecars.index(item.name) if item.name in sidecars else 0
            steps.append(_stop(pod, observed, item, f"Stopping container {item.name}", stage=stage))
        elif item.state is runtime.State.CREATED:
            steps.append(RemoveContainer(item.id))
    if steps:
        return steps
    steps = [StopSandbox(sandbox.id) for sandbox in found.sandboxes if sandbox.ready]
    return steps or [Release()]


def _garbage(pod: Pod, found: PodRuntime) -> Iterator[Step]:
    """Exited containers beyond the newest and the one before it, which `kubectl logs --previous` reads."""
    for name in {item.name for item in found.containers}:
        kept: Sequence[runtime.Container] = found.all(name)
        for old in kept[2:]:
            if old.exited:
                yield RemoveContainer(old.id)
