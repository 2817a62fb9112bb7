"""Which nodes to empty so that fewer do the work: a pure plan, for clusters that can be made smaller.

A node is emptied only if all its pods find room elsewhere, by the plugins' own choice once it is cordoned; what belongs
to the node (DaemonSets, static pods) stays. The emptiest nodes are tried first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
from msgspec.structs import replace as with_fields

from tiphys.scheduler.cluster import Cluster
from tiphys.scheduler.movable import stays
from tiphys.scheduler.pipeline import totals
from tiphys.scheduler.pod import PodInfo
from tiphys.scheduler.rebalance import Model, Move, as_new, feasible, harms_others, used


@dataclass(slots=True)
class Packing:
    """`nodes` are emptied, with one move for each of their pods, by its key; `kept` tells of other nodes why not."""

    nodes: list[str] = field(default_factory=list)
    moves: dict[str, Move] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    def add(self, node: str, moves: list[Move]) -> None:
        """A node is emptied too; what was to come to it from another one goes on at once."""
        self.nodes.append(node)
        for move in moves:
            known = self.moves.get(move.info.key)
            self.moves[move.info.key] = replace(known, target=move.target) if known is not None else move


def pack(model: Model, most: int, only: Collection[str] | None = None) -> Packing:
    """Nodes to empty with at most so many moves, all or `only` these. On the model they are cordoned and empty
    afterwards."""
    packing, cluster = Packing(), model.cluster
    for row in _emptiest_first(cluster):
        if only is not None and cluster.name(row) not in only:
            continue
        name, going = cluster.name(row), [info for info in cluster.pods(row) if not stays(info)]
        # What has only what is to come to it is empty as yet.
        if all(info.key in packing.moves for info in going) or _cordoned(cluster, row):
            continue
        why = _obstacle(model, packing, going, most)
        moves: list[Move] = []
        if not why:
            _cordon(cluster, row, True)
            why = _empty(model, [*packing.nodes, name], going, moves)
        if why:
            packing.kept[name] = why
            _undo(cluster, moves)
            if _cordoned(cluster, row):
                _cordon(cluster, row, False)
        else:
            packing.add(name, moves)
    return packing


def _obstacle(model: Model, packing: Packing, going: list[PodInfo], most: int) -> str:
    """Why a node is not to be tried."""
    held = next((info.key for info in going if not model.movable(info)), "")
    if held:
        return f"{held} may not be moved"
    more = sum(info.key not in packing.moves for info in going)
    return "" if len(packing.moves) + more <= most else "that would be too many moves"


def _empty(model: Model, emptied: list[str], going: list[PodInfo], moves: list[Move]) -> str:
    """Move all of the last of the nodes to others, the largest first; why it cannot be emptied."""
    for info in sorted(going, key=lambda pod: tuple(-amount for amount in pod.scored)):
        move = _elsewhere(model, info, emptied)
        if move is None:
            return f"{info.key} finds no room elsewhere"
        moves.append(move)
    return ""


def _elsewhere(model: Model, info: PodInfo, emptied: list[str]) -> Move | None:
    """Move one pod on the model to where the plugins put it; a pod that tolerates cordons might come back."""
    cluster, anew, plugins, source = model.cluster, as_new(info), model.plugins(info), emptied[-1]
    cluster.remove_pod(info.key)
    left = feasible(anew, cluster, plugins)
    if left.any() and not any(left[cluster.row(name)] for name in emptied):
        marks = totals(anew, cluster, plugins, left)
        target = cluster.name(int(np.argmax(left if marks is None else marks)))
        move = Move(info, source, target, f"{source} can be emptied")
        if not harms_others(model, info, move):
            cluster.place(info, target)
            return move
    cluster.place(info, source)
    return None


def _undo(cluster: Cluster, moves: list[Move]) -> None:
    for move in reversed(moves):
        cluster.place(move.info, move.source)


def _cordoned(cluster: Cluster, row: int) -> bool:
    entry = cluster.rows[row]
    return entry is not None and entry.node.spec.unschedulable


def _cordon(cluster: Cluster, row: int, unschedulable: bool) -> None:
    entry = cluster.rows[row]
    assert entry is not None, "only rows with nodes are packed"
    cluster.set_node(with_fields(entry.node, spec=with_fields(entry.node.spec, unschedulable=unschedulable)))


def _emptiest_first(cluster: Cluster) -> list[int]:
    taken = used(cluster).max(axis=1)
    rows = np.flatnonzero(cluster.live)
    return [int(row) for row in rows[np.argsort(taken[rows], kind="stable")]]
