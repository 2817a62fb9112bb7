"""PriorityLevelConfiguration. Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/priority-level-configuration-v1/"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tiphys.api.errors import FieldError, forbidden, invalid, not_supported, required
from tiphys.api.resource import Json
from tiphys.kinds.columns import AGE, NAME, NONE, at
from tiphys.kinds.declare import declare
from tiphys.kinds.fields import dig, put_default
from tiphys.kinds.flowcontrol.mandatory import PRIORITY_LEVELS as FIXED
from tiphys.kinds.flowcontrol.mandatory import check_fixed
from tiphys.kinds.flowcontrol.rules import check_condition_types
from tiphys.kinds.strategy import StatusStrategy


class PriorityLevelStrategy(StatusStrategy):
    def default(self, new: Json) -> None:
        spec = new.get("spec") or {}
        limited = spec.get("limited")
        if limited is not None:
            put_default(limited, "nominalConcurrencyShares", 30)
            put_default(limited, "lendablePercent", 0)
            queuing = dig(limited, "limitResponse", "queuing")
            if queuing is not None:
                for name, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
                    if not queuing.get(name):
                        queuing[name] = value
        if spec.get("exempt") is not None:
            put_default(spec["exempt"], "nominalConcurrencyShares", 0)
            put_default(spec["exempt"], "lendablePercent", 0)

    def check(self, new: Json, old: Json | None) -> Iterator[FieldError]:
        spec = new.get("spec") or {}
        if old is None or spec != old.get("spec"):
            name = dig(new, "metadata", "name") or ""
            yield from _check_spec(spec, name)
            yield from check_fixed(name, spec, FIXED)
        if old is not None:
            yield from check_condition_types(dig(new, "status", "conditions") or [], "status.conditions")


def _check_spec(spec: Json, name: str) -> Iterator[FieldError]:
    kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    if (name == "exempt") != (kind == "Exempt"):
        yield invalid("spec.type", kind, "type must be 'Exempt' if and only if name is 'exempt'")
    if kind == "Exempt":
        if limited is not None:
            yield forbidden("spec.limited", "must be nil if the type is not Limited")
        if exempt is not None:
            yield from _check_shares(exempt, "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            yield forbidden("spec.exempt", "must be nil if the type is Limited")
        if limited is None:
            yield required("spec.limited", "must not be empty when type is Limited")
        else:
            yield from _check_limited(limited)
    else:
        yield not_supported("spec.type", kind, ("Exempt", "Limited"))


def _check_shares(part: Json, path: str) -> Iterator[FieldError]:
    shares, lendable = part.get("nominalConcurrencyShares") or 0, part.get("lendablePercent") or 0
    if shares < 0:
        yield invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    if not 0 <= lendable <= 100:
        yield invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive")


def _check_limited(limited: Json) -> Iterator[FieldError]:
    yield from _check_shares(limited, "spec.limited")
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        rule = "if specified, must be a non-negative integer"
        yield invalid("spec.limited.borrowingLimitPercent", borrowing, rule)
    path, response = "spec.limited.limitResponse", limited.get("limitResponse") or {}
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            yield forbidden(f"{path}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif kind == "Queue":
        if queuing is None:
            yield required(f"{path}.queuing", "must not be empty if limited.limitResponse.type is Limited")
        else:
            yield from _check_queuing(queuing, f"{path}.queuing")
    else:
        yield not_supported(f"{path}.type", kind, ("Queue", "Reject"))


def _check_queuing(queuing: Json, path: str) -> Iterator[FieldError]:
    """A hand is what a flow's queue is picked by; which hand, a hash of few bits says."""
    queues, hand = queuing.get("queues") or 0, queuing.get("handSize") or 0
    length = queuing.get("queueLengthLimit") or 0
    if length <= 0:
        yield invalid(f"{path}.queueLengthLimit", length, "must be positive")
    if queues <= 0:
        yield invalid(f"{path}.queues", queues, "must be positive")
    elif queues > _MAX_QUEUES:
        yield invalid(f"{path}.queues", queues, f"must not be greater than {_MAX_QUEUES}")
    if hand <= 0:
        yield invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        yield invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif hand > _HASH_BITS or math.ceil(sum(math.log2(queues - index) for index in range(hand))) > _HASH_BITS:
        rule = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_HASH_BITS}"
        yield invalid(f"{path}.handSize", hand, rule)


_MAX_QUEUES, _HASH_BITS = 10_000_000, 60
_LIMITED = ("spec", "limited")
_QUEUING = (*_LIMITED, "limitResponse", "queuing")


PRIORITY_LEVEL_CONFIGURATIONS = declare(
    group="flowcontrol.apiserver.k8s.io", version="v1",
    kind="PriorityLevelConfiguration", plural="prioritylevelconfigurations",
    namespaced=False, status=True,
    columns=(
        NAME, at("Type", "spec", "type"),
        at("NominalConcurrencyShares", *_LIMITED, "nominalConcurrencyShares", empty=NONE),
        at("Queues", *_QUEUING, "queues", empty=NONE), at("HandSize", *_QUEUING, "handSize", empty=NONE),
        at("QueueLengthLimit", *_QUEUING, "queueLengthLimit", empty=NONE), AGE,
    ),
    strategy=PriorityLevelStrategy(),
)  # fmt: skip
