"""`tiphys rebalance`: move running pods to where the scheduler would put them now, or pack them on fewer nodes.

The plan is made on the scheduler's model, read over the API; one pod is moved at a time, by an eviction that its
disruption budgets allow, and the next only when the pod that came instead is Ready.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tiphys.cli.config import Connection, load
from tiphys.cli.errors import CliError, ServerError, explain
from tiphys.cli.transport import Http, Transport
from tiphys.main.cluster import DEFAULT_NAME, Cluster
from tiphys.main.why import SCHEDULER_FILE

if TYPE_CHECKING:
    from tiphys.main.rebalancing import Mover, Reading
    from tiphys.scheduler.profile import Profile
    from tiphys.scheduler.rebalance import Move

_INTERRUPTED = 130


def rebalance(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        from tiphys.scheduler import config

        managed = Cluster(options.cluster)
        transport = Http(Connection(load(str(managed.kubeconfig)), {"context": managed.name}))
        profiles = {profile.name: profile for profile in config.profiles(managed.state / SCHEDULER_FILE)}
        for line in lines(transport, profiles, options):
            print(line, flush=True)
    except (CliError, ServerError) as error:
        print(f"tiphys rebalance: {explain(error)}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"tiphys rebalance: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What was moved stays; a pod that was evicted last comes up again by itself.", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    text = "Move running pods to where the scheduler would put them now."
    parser = argparse.ArgumentParser("tiphys rebalance", description=text)
    parser.add_argument("cluster", nargs="?", default=DEFAULT_NAME, metavar="NAME", help="default: %(default)s")
    parser.add_argument("-n", "--namespace", default="", help="move pods of this namespace only")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, move nothing")
    parser.add_argument("--pack", action="store_true", help="empty the nodes that can be emptied, and cordon them")
    parser.add_argument("--most", type=int, default=50, metavar="N", help="at most N moves (default: %(default)s)")
    parser.add_argument(
        "--margin", type=float, default=10.0, metavar="POINTS",
        help="by how much the sum of the scheduler's scores has to grow (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="SECONDS",
        help="how long to wait for the pod that comes instead (default: %(default)g)",
    )  # fmt: skip
    return parser


def lines(
    transport: Transport, profiles: Mapping[str, Profile], options: argparse.Namespace
) -> Iterator[str]:  # fmt: skip
    """Do what `options` ask for; what is printed of it. Raises what the transport does, and CliError."""
    from tiphys.main.rebalancing import Mover, Reading

    reading = Reading(transport, profiles, options.namespace, options.margin)
    mover = Mover(transport, options.timeout)
    yield from _pack(reading, mover, options) if options.pack else _spread(reading, mover, options)


def _spread(reading: Reading, mover: Mover, options: argparse.Namespace) -> Iterator[str]:
    from tiphys.scheduler.rebalance import plan

    if options.dry_run:
        moves = list(plan(reading.model(), options.most))
        yield from (f"would move {_said(move)}" for move in moves)
        yield _summary(len(moves), options, "would be moved")
        return
    made = tried = 0
    while tried < options.most and (move := next(plan(reading.model(), 1), None)) is not None:
        tried += 1
        yield f"moving {_said(move)}"
        outcome = mover.move(move)
        yield f"  {outcome.words}"
        made += outcome.away
        if not outcome.away:
            # Whatever is in the way of these pods, it would be again.
            reading.leave(move.info)
    yield _summary(made, options, "were moved")


def _pack(reading: Reading, mover: Mover, options: argparse.Namespace) -> Iterator[str]:
    from tiphys.scheduler.packing import pack

    packing = pack(reading.model(), options.most)
    if options.dry_run:
        yield from (f"would move {_said(move)}" for move in packing.moves.values())
        yield from (f"{node} stays: {why}" for node, why in packing.kept.items())
        yield f"{len(packing.nodes)} nodes would be emptied{_named(packing.nodes)}"
        return
    emptied: list[str] = []
    try:
        for node in packing.nodes:
            mover.cordon(node, True)
        for node in packing.nodes:
            for move in (each for each in packing.moves.values() if each.source == node):
                yield f"moving {_said(move)}"
                outcome = mover.move(move)
                yield f"  {outcome.words}"
                if not outcome.moved:
                    raise CliError(f"{node} cannot be emptied: {outcome.words}")
            emptied.append(node)
            yield f"{node} is empty and cordoned"
    finally:
        for node in packing.nodes:
            if node not in emptied:
                mover.cordon(node, False)
    yield from (f"{node} stays: {why}" for node, why in packing.kept.items())
    yield f"{len(emptied)} nodes were emptied{_named(emptied)}"


def _said(move: Move) -> str:
    gain = "" if move.violated or not move.gain else f" (+{move.gain:.0f})"
    return f"{move.info.key}  {move.source} -> {move.target}{gain}: {move.why}"


def _summary(count: int, options: argparse.Namespace, verb: str) -> str:
    more = f"; there may be more to do, --most is {options.most}" if count >= options.most else ""
    return f"{count} pods {verb}{more}" if count else f"No pods {verb}: nothing would be better by the margin"


def _named(nodes: Sequence[str]) -> str:
    return f": {', '.join(nodes)}" if nodes else ""
