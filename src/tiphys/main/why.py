"""`tiphys why pod/NAME`: why a pod has no node, and the smallest change that would give it one.

The cluster is read over its API and modelled here, by the scheduler's own plugins; nothing is changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tiphys.cli.config import Connection, load
from tiphys.cli.errors import CliError, ServerError, explain
from tiphys.cli.transport import Http, Transport
from tiphys.kinds.core.pod import PODS, Pod
from tiphys.main.cluster import DEFAULT_NAME
from tiphys.main.cluster import Cluster as Managed

if TYPE_CHECKING:
    from tiphys.scheduler.explain import Explanation, GangExplanation
    from tiphys.scheduler.gang import Gang

# In the state directory of a cluster.
SCHEDULER_FILE = "scheduler.yaml"


def why(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("tiphys why", description="Why a pod has no node, and what would give it one.")
    parser.add_argument("pod", metavar="pod/NAME", help="the pod")
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (default: %(default)s)")
    parser.add_argument("--cluster", default=DEFAULT_NAME, metavar="NAME", help="the cluster (default: %(default)s)")
    options = parser.parse_args(arguments)
    kind, _, name = options.pod.rpartition("/")
    if kind not in ("", "pod", "pods", "po"):
        parser.error(f"{kind}/{name} is not a pod")
    try:
        managed = Managed(options.cluster)
        transport = Http(Connection(load(str(managed.kubeconfig)), {"context": managed.name}))
        print("\n".join(answer(transport, options.namespace, name, managed.state / SCHEDULER_FILE)))
    except (CliError, ServerError) as error:
        print(f"tiphys why: {explain(error)}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"tiphys why: {error}", file=sys.stderr)
        return 1
    return 0


def answer(transport: Transport, namespace: str, name: str, file: Path | None = None) -> Iterator[str]:
    """The lines that are printed; `file` configures the scheduler, if it is there. Raises what the transport does."""
    pod = msgspec.json.decode(transport.call("GET", PODS.path(name, namespace)), type=Pod)
    yield from _settled(pod) or _explained(transport, pod, file)


def _settled(pod: Pod) -> list[str]:
    """What there is to say without looking at nodes."""
    key = f"pod {pod.metadata.key}"
    if pod.finished:
        return [f"{key} has ended: {pod.status.phase}"]
    if pod.spec.node_name:
        return [f"{key} has a node: {pod.spec.node_name} ({pod.status.phase})"]
    if pod.deleted:
        return [f"{key} is being deleted: no node is looked for"]
    if pod.spec.scheduling_gates:
        gates = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
        return [
            f"{key} is held by its scheduling gates: {gates}",
            "Smallest change: whoever set them removes them from spec.schedulingGates",
        ]
    return []


def _explained(transport: Transport, pod: Pod, file: Path | None) -> Iterator[str]:
    from tiphys.main.model import read
    from tiphys.scheduler import config
    from tiphys.scheduler.explain import explain as look
    from tiphys.scheduler.explain import explain_gang
    from tiphys.scheduler.fairness import turn
    from tiphys.scheduler.pod import PodInfo
    from tiphys.scheduler.volume_advice import awaited

    profiles = {profile.name: profile for profile in (config.profiles(file) if file else config.default())}
    profile = profiles.get(pod.spec.scheduler_name)
    if profile is None:
        yield f'pod {pod.metadata.key} waits for the scheduler "{pod.spec.scheduler_name}", which is none of ours'
        yield f"Smallest change: a pod with schedulerName {' or '.join(profiles)}"
        return
    model = read(transport, list(profiles.values()))
    gang = model.gangs.of(pod.metadata.key)
    if gang is not None and gang.together:
        yield from _of_gang(pod, gang, explain_gang(gang, model.cluster, profiles, model.preemption))
        return
    model.cluster.withdraw(pod.metadata.key)
    info = PodInfo(pod, model.kin.of)
    found = look(info, model.cluster, profile, model.preemption)
    if found.node and profile.fairness is not None and (before := turn(info, model.waiting(), model.cluster)):
        yield f"pod {pod.metadata.key} fits on {found.node} and waits for its turn: {before}"
        return
    waits = awaited(PodInfo(pod), model.cluster) if found.node else ""
    if waits:
        yield f"pod {pod.metadata.key} goes to {found.node} once its volumes are there: {waits}"
        return
    yield from lines(pod, found)


def _of_gang(pod: Pod, gang: Gang, found: GangExplanation) -> Iterator[str]:
    yield f"pod {pod.metadata.key} is placed together with its group {gang.name}, all at once: {found.verdict}"
    if found.member is not None and found.of_member is not None:
        yield from lines(found.member.pod, found.of_member)


def lines(pod: Pod, found: Explanation) -> Iterator[str]:
    """What is printed of an explanation."""
    key = f"pod {pod.metadata.key}"
    if found.node:
        yield f"{key} fits on {found.node}: the next attempt places it, which a back-off may delay by ten seconds"
        return
    yield f"{key} has no node: {found.verdict}"
    for reason, count in sorted(found.reasons.items(), key=lambda each: (-each[1], each[0])):
        yield f"  {count:>5}  {reason}"
    if pod.status.nominated_node_name:
        yield f"Room is being made for it on {pod.status.nominated_node_name}"
    elif found.room:
        yield f"Priority: {found.room}"
    if found.nearest is not None:
        yield f"Nearest: {found.nearest.node}"
        for remedy in found.nearest.remedies:
            yield f"  {found.nearest.node} {remedy.cause}; {remedy.change}"
    elif found.advice:
        yield f"Smallest change: {found.advice}"
    elif not found.reasons:
        yield "Smallest change: a node that is Ready"
