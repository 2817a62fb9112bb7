"""Translated objects brought to a cluster, followed, and taken back if an update fails and was to roll back."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from tiphys.cli.errors import CliError
from tiphys.main.front_doors import release, rollout
from tiphys.main.front_doors.live import WORKLOADS, Live
from tiphys.stacks.objects import FAILURE_ACTION, STACK

Json = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """`prune` removes services that are gone; `wait` follows until all is settled, `timeout` seconds (0 for ever).

    `waves` are services in the order of their start, each when the ones before are settled; together without it.
    """

    prune: bool = False
    wait: bool = True
    timeout: float = 600
    waves: tuple[frozenset[str], ...] = ()


def deploy(live: Live, stack: str, objects: list[Json], way: Way) -> int:
    """The exit code."""
    claim_namespace(live, stack)
    selector = f"{STACK}={stack}"
    current, previous = release.read(live)
    gone = {release.service_of(obj) for obj in current} - {release.service_of(obj) for obj in objects}
    if gone and not way.prune:
        print(f"not in the file any more, and left alone without --prune: {', '.join(sorted(gone))}", file=sys.stderr)
        objects = [*objects, *(obj for obj in current if release.service_of(obj) in gone)]
    if current == objects:
        current = previous
    return _bring(live, stack, (objects, current), way, rollout.before(live, selector))


def _bring(live: Live, stack: str, releases: tuple[list[Json], list[Json]], way: Way, old: rollout.Before) -> int:
    """Apply the first of `releases`; the second is what a rollback goes to."""
    objects, before = releases
    selector = f"{STACK}={stack}"
    release.write(live, objects, before)
    for wave in way.waves[:-1] if way.wait else ():
        release.apply(live, [obj for obj in objects if release.service_of(obj) in wave])
        if failed := rollout.follow(live, selector, old, rollout.Following(way.timeout, print, wave)):
            for name, why in failed.items():
                print(f"service {stack}_{name}: {why}; what depends on it was not touched", file=sys.stderr)
            return 1
    release.apply(live, objects)
    for title in release.prune(live, selector, objects, before):
        print(f"removed {title}")
    if not way.wait:
        _warn_unwatched(objects)
        return 0
    failed = rollout.follow(live, selector, old, rollout.Following(way.timeout, print))
    for name, why in failed.items():
        print(f"service {stack}_{name}: update failed: {why}", file=sys.stderr)
    back = {
        name
        for name in failed
        if _action(objects, name) == "rollback" and any(release.service_of(o) == name for o in before)
    }
    if back:
        print(f"rolling back: {', '.join(sorted(back))}", file=sys.stderr)
        _return(live, stack, (objects, before), back, way)
        # What failed is not what a later rollback should bring back.
        release.write(live, release.read(live)[0], before)
    return 1 if failed else 0


def _return(live: Live, stack: str, releases: tuple[list[Json], list[Json]], services: set[str], way: Way) -> int:
    current, previous = releases
    back = release.mixed(current, previous, services)
    selector = f"{STACK}={stack}"
    old = rollout.Before(frozenset(), {})
    release.write(live, back, current)
    release.apply(live, back)
    release.prune(live, selector, back, current)
    if not way.wait:
        return 0
    failed = rollout.follow(live, selector, old, rollout.Following(way.timeout, print, frozenset(services)))
    for name, why in failed.items():
        print(f"service {stack}_{name}: {why}", file=sys.stderr)
    return 1 if failed else 0


def roll_back(live: Live, stack: str, services: set[str], way: Way) -> int:
    """Services (all if none are named) as they were before the last change. Raises CliError if there is no before."""
    current, previous = release.read(live)
    chosen = services or {release.service_of(o) for o in [*current, *previous]} - {""}
    if not previous or not any(release.service_of(obj) in chosen for obj in previous):
        raise CliError(f"{stack}: {', '.join(sorted(services)) or 'the stack'} has no previous version to go back to")
    return _return(live, stack, (current, previous), chosen, way)


def claim_namespace(live: Live, stack: str) -> None:
    """Make the namespace, or see that it is this stack's. Raises CliError if it is somebody else's."""
    found = live.own_namespace()
    if found is not None and (found["metadata"].get("labels") or {}).get(STACK) != stack:
        raise CliError(
            f"the namespace {live.namespace} exists and is not this stack's; choose another name, or give it away: "
            f"kubectl label namespace {live.namespace} {STACK}={stack}"
        )
    if found is not None and found["metadata"].get("deletionTimestamp"):
        raise CliError(f"the namespace {live.namespace} is being deleted; deploy again when it is gone")
    live.ensure_namespace({STACK: stack})


def remove(live: Live, stack: str, *, volumes: bool) -> bool:
    """Take everything away; whether there was anything. Volumes stay unless asked for, and the namespace with them."""
    found = live.own_namespace()
    if found is None or (found["metadata"].get("labels") or {}).get(STACK) != stack:
        return False
    claims = live.list("PersistentVolumeClaim")
    if not claims or volumes:
        live.delete_namespace()
        return True
    for title in release.prune(live, f"{STACK}={stack}", [], []):
        print(f"removed {title}")
    live.delete("Secret", "tiphys-release")
    names = ", ".join(claim["metadata"]["name"] for claim in claims)
    print(f"volumes stay: {names} (--volumes removes them, and the namespace {live.namespace})", file=sys.stderr)
    return True


def _action(objects: list[Json], service: str) -> str:
    for obj in objects:
        if obj["kind"] in WORKLOADS and release.service_of(obj) == service:
            return str((obj["metadata"].get("annotations") or {}).get(FAILURE_ACTION, "pause"))
    return "pause"


def _warn_unwatched(objects: list[Json]) -> None:
    names = [
        release.service_of(obj)
        for obj in objects
        if obj["kind"] in WORKLOADS and _action([obj], release.service_of(obj)) == "rollback"
    ]
    if names:
        text = "nobody watches with --detach: an update that fails stops, and `rollback` takes it back"
        print(f"failure_action: rollback of {', '.join(names)}: {text}", file=sys.stderr)
