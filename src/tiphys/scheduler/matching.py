"""Whom a pod's constraints mean: its selectors compiled once, comparable, so that equal ones are counted once.

The API server has merged `matchLabelKeys` and `mismatchLabelKeys` into the selectors when the pod was made.
Sources: https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/ and
https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#inter-pod-affinity-and-anti-affinity
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tiphys.api.selectors import DOES_NOT_EXIST, EXISTS, IN, NOT_IN, NOTHING, Requirement
from tiphys.api.selectors import LabelSelector as Compiled
from tiphys.kinds.core.affinity import LabelSelector, PodAffinityTerm, TopologySpreadConstraint
from tiphys.kinds.core.pod import Pod

Labels = Mapping[str, str]
HOSTNAME, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
_OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST}


def compiled(selector: LabelSelector | None) -> Compiled:
    """Absent selects nothing, empty everything. The API server has validated it."""
    if selector is None:
        return NOTHING
    found = [Requirement(key, IN, frozenset((value,))) for key, value in selector.match_labels.items()]
    for rule in selector.match_expressions:
        found.append(Requirement(rule.key, _OPERATORS.get(rule.operator, rule.operator), frozenset(rule.values)))
    if len(found) > 1:
        found = sorted(set(found), key=lambda r: (r.key, r.operator, sorted(r.values)))
    return Compiled(found)


@dataclass(frozen=True, slots=True)
class Who:
    """Pods in the named namespaces, or in those that `spaces` selects, with labels that `selector` matches.

    `living` leaves out pods that are being deleted.
    """

    selector: Compiled
    namespaces: frozenset[str]
    spaces: Compiled = NOTHING
    living: bool = False

    def matches(self, namespace: str, labels: Labels, of_namespace: Labels) -> bool:
        here = namespace in self.namespaces or self.spaces.matches(of_namespace)
        return here and self.selector.matches(labels)


@dataclass(frozen=True, slots=True)
class Term:
    """A term of a pod's affinity or anti-affinity. A required one has weight 0, a preferred anti-affinity one < 0."""

    who: Who
    topology_key: str
    anti: bool
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """A topology spread constraint. `min_domains` is 1 where the pod says nothing."""

    who: Who
    topology_key: str
    max_skew: int
    hard: bool
    min_domains: int = 1
    honor_affinity: bool = True
    honor_taints: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferred: tuple[Term, ...] = ()

    def __iter__(self) -> Iterator[Term]:
        yield from self.affinity
        yield from self.anti_affinity
        yield from self.preferred


NO_TERMS = Terms()


def terms_of(pod: Pod) -> Terms:
    affinity, anti = pod.spec.affinity.pod_affinity, pod.spec.affinity.pod_anti_affinity
    if affinity is None and anti is None:
        return NO_TERMS
    space = pod.metadata.namespace
    preferred = [
        Term(
            _who(weighted.pod_affinity_term, space),
            weighted.pod_affinity_term.topology_key,
            sign < 0,
            sign * weighted.weight,
        )
        for side, sign in ((affinity, 1), (anti, -1))
        for weighted in (side.preferred if side is not None else ())
    ]
    return Terms(
        tuple(Term(_who(term, space), term.topology_key, False) for term in (affinity.required if affinity else ())),
        tuple(Term(_who(term, space), term.topology_key, True) for term in (anti.required if anti else ())),
        tuple(preferred),
    )  # fmt: skip


def _who(term: PodAffinityTerm, own: str) -> Who:
    named = frozenset(term.namespaces)
    if not named and term.namespace_selector is None:
        named = frozenset((own,))
    return Who(compiled(term.label_selector), named, compiled(term.namespace_selector))


def spread_of(pod: Pod) -> tuple[Spread, ...]:
    constraints = pod.spec.topology_spread_constraints
    return tuple(spread(each, among(compiled(each.label_selector), pod)) for each in constraints)


def spread(constraint: TopologySpreadConstraint, who: Who) -> Spread:
    return Spread(
        who,
        constraint.topology_key,
        constraint.max_skew,
        constraint.when_unsatisfiable == "DoNotSchedule",
        constraint.min_domains or 1,
        constraint.node_affinity_policy == "Honor",
        constraint.node_taints_policy == "Honor",
    )


def among(selector: Compiled, pod: Pod) -> Who:
    """The pods that a spread constraint counts: those of the pod's own namespace that stay."""
    return Who(selector, frozenset((pod.metadata.namespace,)), living=True)
