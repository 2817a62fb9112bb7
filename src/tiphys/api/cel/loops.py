"""Closures for comprehensions: the folds that macros make, each as the loop that it means.

The cost of a turn is what cel-go counts for its generic fold: the test of the condition, the step, the accumulator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tiphys.api.cel.ast import Comprehension
from tiphys.api.cel.calls import PER_CALL_LIMIT, Frame, Run
from tiphys.api.cel.errors import CostExceeded, EvalError
from tiphys.api.cel.values import key, type_of

if TYPE_CHECKING:
    from tiphys.api.cel.planner import Planner

# Puts the variables of one turn into the frame, from what `_pairs` or `_items` yields.
_Feed = Callable[[Frame, Any], None]


def plan(planner: Planner, node: Comprehension) -> Run:
    """The loop of a comprehension."""
    if node.macro == "bind":
        return _bind(planner, node)
    over = planner.plan(node.range)
    slots = (planner.slot(), planner.slot() if node.variable2 else 0)
    planner.scope({node.variable: slots[0], node.variable2: slots[1]} if node.variable2 else {node.variable: slots[0]})
    predicate = planner.plan(node.predicate) if node.predicate is not None else None
    transform = planner.plan(node.transform) if node.transform is not None else None
    planner.leave()
    made = _Loop(over, slots, predicate, transform)
    if node.macro == "insert":
        return _insert(made, slots[0], keyed=_is_keyed(node))
    return _LOOPS[node.macro](made)


class _Loop:
    """The parts of a loop; `items` evaluates the range into what `feed` understands."""

    def __init__(self, over: Run, slots: tuple[int, int], predicate: Run | None, transform: Run | None) -> None:
        self.predicate, self.transform = predicate, transform
        one, two = slots

        def items(frame: Frame) -> list[Any]:
            found = over(frame)
            if isinstance(found, dict):
                return list(found.items()) if two else list(found)
            if isinstance(found, list):
                return list(enumerate(found)) if two else found
            raise EvalError(f"got '{type_of(found)}', expected iterable type")

        def feed_one(frame: Frame, item: Any) -> None:
            frame[one] = item

        def feed_two(frame: Frame, item: Any) -> None:
            frame[one], frame[two] = item

        self.items: Callable[[Frame], list[Any]] = items
        self.feed: _Feed = feed_two if two else feed_one


def _quantifier(loop: _Loop, decisive: bool, turn: int) -> Run:
    """`all` (decided by the first false) or `exists` (by the first true); errors give way to a decision."""
    predicate, items_of, feed = loop.predicate, loop.items, loop.feed
    assert predicate is not None
    condition = turn - 1

    def run(frame: Frame) -> Any:
        failure: EvalError | None = None
        items = items_of(frame)
        last = len(items) - 1
        for index, item in enumerate(items):
            feed(frame, item)
            frame[0] += turn
            try:
                value = predicate(frame)
            except EvalError as error:
                failure = failure or error
                value = None
            if value is decisive:
                frame[0] += 1 if index == last else 1 + condition
                return decisive
            if value is not (not decisive):
                failure = failure or EvalError("no such overload")
            if frame[0] > PER_CALL_LIMIT:
                raise CostExceeded
        frame[0] += 1
        if failure is not None:
            raise failure
        return not decisive

    return run


def _all(loop: _Loop) -> Run:
    return _quantifier(loop, False, 3)


def _exists(loop: _Loop) -> Run:
    return _quantifier(loop, True, 4)


def _exists_one(loop: _Loop) -> Run:
    predicate, items_of, feed = loop.predicate, loop.items, loop.feed
    assert predicate is not None

    def run(frame: Frame) -> Any:
        count = 0
        for item in items_of(frame):
            feed(frame, item)
            value = predicate(frame)
            if value is True:
                count += 1
                frame[0] += 2
            elif value is not False:
                raise EvalError("no such overload")
            if frame[0] > PER_CALL_LIMIT:
                raise CostExceeded
        frame[0] += 2
        return count == 1

    return run


def _map(loop: _Loop) -> Run:
    predicate, transform, items_of, feed = loop.predicate, loop.transform, loop.items, loop.feed
    assert transform is not None

    def run(frame: Frame) -> Any:
        found = []
        for item in items_of(frame):
            feed(frame, item)
            if predicate is not None and not _holds(predicate(frame)):
                continue
            found.append(transform(frame))
            frame[0] += 12
            if frame[0] > PER_CALL_LIMIT:
                raise CostExceeded
        frame[0] += 1
        return found

    return run


def _insert(loop: _Loop, key_slot: int, *, keyed: bool) -> Run:
    """`transformMap` (keys stay) and `transformMapEntry` (each turn makes a map)."""
    predicate, transform, items_of, feed = loop.predicate, loop.transform, loop.items, loop.feed
    assert transform is not None

    def run(frame: Frame) -> Any:
        found: dict[Any, Any] = {}
        for item in items_of(frame):
            feed(frame, item)
            if predicate is not None and not _holds(predicate(frame)):
                continue
            made = transform(frame)
            for name, value in ((frame[key_slot], made),) if keyed else made.items():
                if key(name) in found:
                    raise EvalError(f"insert failed: key {name} already exists")
                found[name] = value
            frame[0] += 3 if keyed else 2
            if frame[0] > PER_CALL_LIMIT:
                raise CostExceeded
        frame[0] += 1
        return found

    return run


def _is_keyed(node: Comprehension) -> bool:
    step: Any = node.step
    while step.function == "_?_:_":
        step = step.args[1]
    return len(step.args) == 3


def _holds(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise EvalError("no such overload")


def _bind(planner: Planner, node: Comprehension) -> Run:
    initial = planner.plan(node.initial)
    slot = planner.slot()
    planner.scope({node.accumulator: slot})
    result = planner.plan(node.result)
    planner.leave()

    def run(frame: Frame) -> Any:
        frame[slot] = initial(frame)
        return result(frame)

    return run


_LOOPS: dict[str, Callable[[_Loop], Run]] = {
    "all": _all, "exists": _exists, "exists_one": _exists_one, "map": _map, "filter": _map,
}  # fmt: skip
