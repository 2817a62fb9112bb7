"""What `decide` looks at and what it answers: values only.

`EDGES` is the whole table of a pod's states: SYNCING until something ends it, TERMINATING until nothing of it runs,
then TERMINATED.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from tiphys.kubelet import runtime
from tiphys.kubelet.restart import CrashLoop
from tiphys.kubelet.runtime import PodRuntime


class Phase(Enum):
    SYNCING = "syncing"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


# Stands for the sandbox where containers are named; no container is called so.
SANDBOX = ""

EDGES: Mapping[Phase, frozenset[Phase]] = {
    Phase.SYNCING: frozenset({Phase.SYNCING, Phase.TERMINATING}),
    Phase.TERMINATING: frozenset({Phase.TERMINATING, Phase.TERMINATED}),
    Phase.TERMINATED: frozenset({Phase.TERMINATED}),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the probes of one running container say; without probes, all is well."""

    started: bool = True
    alive: bool = True
    ready: bool = True
    message: str = ""
    grace: float | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Why a pod must end although nobody deleted it; `reason` and `message` go into its status.

    `disruption`: it is the node that needs this, not the pod that failed.
    """

    reason: str
    message: str
    grace: float | None = None
    disruption: bool = False


_NOTHING = PodRuntime()


@dataclass(frozen=True, slots=True)
class Observed:
    """`verdicts` by id, of running containers that have probes; `blocked` by container name: not before then."""

    phase: Phase = Phase.SYNCING
    found: PodRuntime = _NOTHING
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    crashes: CrashLoop = field(default_factory=CrashLoop)
    blocked: Mapping[str, float] = field(default_factory=dict)
    end: End | None = None
    # Containers whose start or stop is under way, by name: nothing is decided for them until it is over.
    busy: frozenset[str] = frozenset()
    # When the kubelet first took the pod up, for activeDeadlineSeconds.
    started_at: float = 0.0

    def verdict(self, container: runtime.Container) -> Verdict:
        return self.verdicts.get(container.id, Verdict())


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    attempt: int


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Tear down a sandbox that is broken, superseded, or whose pod has ended; `remove` it too."""

    sandbox_id: str
    remove: bool = False


@dataclass(frozen=True, slots=True)
class StartContainer:
    """`attempt` is the restart count; `kind` is init, main or ephemeral."""

    name: str
    attempt: int
    kind: str


@dataclass(frozen=True, slots=True)
class StopContainer:
    """`stage` orders a pod's end: lower stages stop first, and the next waits for them."""

    container_id: str
    name: str
    grace: float
    message: str
    stage: int = 0


@dataclass(frozen=True, slots=True)
class ResizeContainer:
    """Give a running container the resources that its spec has now."""

    container_id: str
    name: str


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    container_id: str


@dataclass(frozen=True, slots=True)
class EndPod:
    """Go to TERMINATING. `end` is None when the pod was deleted or has finished by itself."""

    end: End | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """Nothing runs any more: give back volumes, cgroup and address, and go to TERMINATED."""


@dataclass(frozen=True, slots=True)
class BackOff:
    """A container that keeps ending waits `delay` seconds after its end, until `at`, before it starts again."""

    name: str
    container_id: str
    delay: float
    at: float


@dataclass(frozen=True, slots=True)
class LookAgain:
    """At this moment (unix seconds), if nothing happens before."""

    at: float


Containers = StartContainer | StopContainer | ResizeContainer | RemoveContainer | BackOff
Step = CreateSandbox | StopSandbox | Containers | EndPod | Release | LookAgain
