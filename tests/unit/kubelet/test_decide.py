"""The pure core: what to do next, from spec, observation and time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tiphys.kinds.core.pod import Pod
from tiphys.kubelet.decide import decide
from tiphys.kubelet.restart import CrashLoop
from tiphys.kubelet.runtime import Container, PodRuntime, Sandbox, State
from tiphys.kubelet.steps import (
    EDGES,
    BackOff,
    CreateSandbox,
    End,
    EndPod,
    LookAgain,
    Observed,
    Phase,
    Release,
    RemoveContainer,
    StartContainer,
    Step,
    StopContainer,
    StopSandbox,
    Verdict,
)

NOW = 1000.0
BOX = Sandbox("s0", "u", "p", "default", 0, True, 1.0, ("10.0.0.2",))


def pod(deleted: bool = False, **spec: Any) -> Pod:
    meta: dict[str, Any] = {"name": "p", "namespace": "default", "uid": "u"}
    if deleted:
        meta |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 7}
    body = {"metadata": meta, "spec": {"containers": [{"name": "a", "image": "i"}], **spec}}
    return msgspec.convert(body, Pod)


def live(name: str, state: State = State.RUNNING, code: int = 0, attempt: int = 0, box: str = "s0") -> Container:
    finished = 990.0 if state is State.EXITED else 0.0
    return Container(f"{name}{attempt}", box, "u", name, attempt, state, 2.0 + attempt, 3.0, finished, code)


def seen(*containers: Container, box: Sandbox | None = BOX, **more: Any) -> Observed:
    return Observed(found=PodRuntime((box,) if box else (), containers), **more)


def steps(pod_: Pod, observed: Observed) -> list[Step]:
    return decide(pod_, observed, NOW)


def test_edges_only_lead_forward() -> None:
    assert EDGES[Phase.TERMINATED] == {Phase.TERMINATED}
    assert Phase.SYNCING not in EDGES[Phase.TERMINATING]
    assert Phase.TERMINATED not in EDGES[Phase.SYNCING]


def test_first_the_sandbox_then_all_main_containers_at_once() -> None:
    two = pod(containers=[{"name": "a"}, {"name": "b"}])
    assert steps(two, seen(box=None)) == [CreateSandbox(0)]
    assert steps(two, seen()) == [StartContainer("a", 0, "main"), StartContainer("b", 0, "main")]
    assert steps(two, seen(live("a"), live("b"))) == []


def test_a_broken_sandbox_takes_everything_with_it() -> None:
    broken = Sandbox("s0", "u", "p", "default", 0, False, 1.0)
    found = steps(pod(), seen(live("a"), box=broken))
    assert [type(step) for step in found] == [StopContainer, StopSandbox, CreateSandbox]
    assert found[-1] == CreateSandbox(1)


def test_containers_of_an_old_sandbox_do_not_count() -> None:
    box = Sandbox("s1", "u", "p", "default", 1, True, 5.0, ("10.0.0.3",))
    assert steps(pod(), seen(live("a", State.EXITED, 137), box=box)) == [StartContainer("a", 1, "main")]


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [("Always", 0, True), ("Always", 1, True), ("OnFailure", 1, True), ("OnFailure", 0, False), ("Never", 1, False)],
)
def test_restart_policies(policy: str, code: int, restarts: bool) -> None:
    found = steps(pod(restartPolicy=policy), seen(live("a", State.EXITED, code)))
    assert found == ([StartContainer("a", 1, "main")] if restarts else [EndPod()])


def test_a_container_may_have_its_own_restart_rules() -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]
    one = pod(restartPolicy="Never", containers=[{"name": "a", "restartPolicy": "Never", "restartPolicyRules": rules}])
    assert steps(one, seen(live("a", State.EXITED, 42))) == [StartContainer("a", 1, "main")]
    assert steps(one, seen(live("a", State.EXITED, 1))) == [EndPod()]


def test_crash_loops_wait() -> None:
    crashes = CrashLoop()
    crashes.restarted("a", 980.0)
    ended = live("a", State.EXITED, 1)
    assert decide(pod(), seen(ended, crashes=crashes), 995.0) == [BackOff("a", "a0", 10.0, 1000.0)]
    assert decide(pod(), seen(ended, crashes=crashes), 1000.0) == [StartContainer("a", 1, "main")]


def test_what_is_blocked_or_under_way_is_left_alone() -> None:
    assert steps(pod(), seen(blocked={"a": 1005.0})) == [LookAgain(1005.0)]
    assert steps(pod(), seen(busy=frozenset({"a"}))) == []
    assert steps(pod(), seen(box=None, blocked={"": 1005.0})) == [LookAgain(1005.0)]


def test_a_container_that_was_created_but_never_started_is_made_anew() -> None:
    assert steps(pod(), seen(live("a", State.CREATED))) == [RemoveContainer("a0")]


def test_a_container_that_is_being_started_is_let_be() -> None:
    assert steps(pod(), seen(live("a", State.CREATED), busy=frozenset({"a"}))) == []


def test_a_failed_liveness_probe_stops_the_container() -> None:
    verdicts = {"a0": Verdict(alive=False, message="it failed", grace=3.0)}
    assert steps(pod(), seen(live("a"), verdicts=verdicts)) == [StopContainer("a0", "a", 3.0, "it failed")]


def test_init_containers_and_sidecars_in_order() -> None:
    init = [{"name": "i"}, {"name": "side", "restartPolicy": "Always"}, {"name": "j"}]
    one = pod(initContainers=init)
    assert steps(one, seen()) == [StartContainer("i", 0, "init")]
    assert steps(one, seen(live("i"))) == []
    done = live("i", State.EXITED)
    assert steps(one, seen(done)) == [StartContainer("side", 0, "init")]
    waiting = {"side0": Verdict(started=False, ready=False)}
    assert steps(one, seen(live("side"), done, verdicts=waiting)) == []
    assert steps(one, seen(live("side"), done)) == [StartContainer("j", 0, "init")]
    over = live("j", State.EXITED)
    assert steps(one, seen(over, live("side"), done)) == [StartContainer("a", 0, "main")]
    # A sidecar comes back beside running main containers, whatever its exit code.
    ended = live("side", State.EXITED)
    assert steps(one, seen(live("a"), over, ended, done)) == [StartContainer("side", 1, "init")]


def test_a_failed_init_container() -> None:
    failed = live("i", State.EXITED, 1)
    assert steps(pod(initContainers=[{"name": "i"}]), seen(failed)) == [StartContainer("i", 1, "init")]
    never = pod(initContainers=[{"name": "i"}], restartPolicy="Never")
    assert steps(never, seen(failed)) == [EndPod()]


def test_sidecars_do_not_keep_a_finished_pod_alive() -> None:
    one = pod(initContainers=[{"name": "side", "restartPolicy": "Always"}], restartPolicy="Never")
    assert steps(one, seen(live("a", State.EXITED), live("side"))) == [EndPod()]


def test_ephemeral_containers_start_once() -> None:
    one = pod(ephemeralContainers=[{"name": "debug"}])
    assert steps(one, seen(live("a"))) == [StartContainer("debug", 0, "ephemeral")]
    assert steps(one, seen(live("debug", State.EXITED), live("a"))) == []


def test_the_restart_count_goes_on_after_a_reboot() -> None:
    body = msgspec.to_builtins(pod())
    body["status"] = {"containerStatuses": [{"name": "a", "containerID": "containerd://x", "restartCount": 4}]}
    assert steps(msgspec.convert(body, Pod), seen()) == [StartContainer("a", 5, "main")]


def test_deletion_eviction_and_deadline_end_the_pod() -> None:
    end = End("Evicted", "no memory")
    assert steps(pod(deleted=True), seen(live("a"))) == [EndPod()]
    assert steps(pod(), seen(live("a"), end=end)) == [EndPod(end)]
    late = steps(pod(activeDeadlineSeconds=5), seen(live("a"), started_at=990.0))
    assert isinstance(late[0], EndPod)
    assert late[0].end is not None
    assert late[0].end.reason == "DeadlineExceeded"
    assert steps(pod(activeDeadlineSeconds=50), seen(live("a"), started_at=990.0)) == [LookAgain(1040.0)]


def test_a_pod_ends_main_first_then_sidecars_in_reverse_then_its_sandbox() -> None:
    init = [{"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}]
    one = pod(deleted=True, initContainers=init)
    found = steps(one, seen(live("a"), live("s1"), live("s2"), phase=Phase.TERMINATING))
    stages = {step.name: step.stage for step in found if isinstance(step, StopContainer)}
    assert stages["a"] < stages["s2"] < stages["s1"]
    assert {step.grace for step in found if isinstance(step, StopContainer)} == {7.0}
    ended = seen(live("a", State.EXITED), phase=Phase.TERMINATING)
    assert steps(one, ended) == [StopSandbox("s0")]
    gone = Sandbox("s0", "u", "p", "default", 0, False, 1.0)
    assert steps(one, seen(live("a", State.EXITED), box=gone, phase=Phase.TERMINATING)) == [Release()]
    assert steps(one, seen(phase=Phase.TERMINATED)) == []


def test_only_two_generations_of_a_container_are_kept() -> None:
    containers = (live("a", attempt=3), *(live("a", State.EXITED, 1, attempt=n) for n in (2, 1, 0)))
    assert steps(pod(), seen(*containers)) == [RemoveContainer("a1"), RemoveContainer("a0")]
