"""On which nodes a DaemonSet's pods belong, and what binds a pod to its node.

The scheduler places daemon pods like all others: an affinity names the node, tolerations bear what befalls nodes.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#how-daemon-pods-are-scheduled
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tiphys.api.resource import Json
from tiphys.api.selectors import DOES_NOT_EXIST, EXISTS, GREATER, IN, LESS, NOT_IN, Requirement
from tiphys.controllers.taints import NO_EXECUTE, NO_SCHEDULE, NOT_READY, UNREACHABLE, UNSCHEDULABLE
from tiphys.kinds.core.affinity import LabelSelectorRequirement, NodeSelectorTerm, Toleration
from tiphys.kinds.core.node import Node
from tiphys.kinds.core.pod import Pod
from tiphys.kinds.core.podspec import PodSpec
from tiphys.kinds.core.taints import tolerates

_NAME = "metadata.name"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_BORNE = (
    (NOT_READY, NO_EXECUTE), (UNREACHABLE, NO_EXECUTE), ("node.kubernetes.io/disk-pressure", NO_SCHEDULE),
    ("node.kubernetes.io/memory-pressure", NO_SCHEDULE), ("node.kubernetes.io/pid-pressure", NO_SCHEDULE),
    (UNSCHEDULABLE, NO_SCHEDULE),
)  # fmt: skip
# Without a network a node is good enough only for pods that use its own.
_BORNE_ON_HOST = (("node.kubernetes.io/network-unavailable", NO_SCHEDULE),)
_OPERATORS = {
    "In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": DOES_NOT_EXIST, "Gt": GREATER, "Lt": LESS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a pod is to be made there, and whether one that is there may stay."""

    run: bool
    stay: bool


def fit(spec: PodSpec, node: Node) -> Fit:
    """`spec` is a DaemonSet's template, as its author wrote it."""
    if (spec.node_name and spec.node_name != node.metadata.name) or not _selected(spec, node):
        return Fit(False, False)
    borne = [*spec.tolerations, *(Toleration(t["key"], t["operator"], "", t["effect"]) for t in _tolerations(spec))]
    repelling = {t.effect for t in node.spec.taints if not any(tolerates(each, t) for each in borne)}
    return Fit(not repelling & {NO_SCHEDULE, NO_EXECUTE}, NO_EXECUTE not in repelling)


def _selected(spec: PodSpec, node: Node) -> bool:
    labels = node.metadata.labels
    if not spec.node_selector.items() <= labels.items():
        return False
    affinity = spec.affinity.node_affinity
    if affinity is None or affinity.required is None:
        return True
    return any(_matches(term, node) for term in affinity.required.node_selector_terms)


def _matches(term: NodeSelectorTerm, node: Node) -> bool:
    """An empty term matches nothing."""
    if not term.match_expressions and not term.match_fields:
        return False
    return _hold(term.match_expressions, node.metadata.labels) and _hold(term.match_fields, {_NAME: node.metadata.name})


def _hold(requirements: Iterable[LabelSelectorRequirement], labels: Mapping[str, str]) -> bool:
    return all(Requirement(r.key, _OPERATORS[r.operator], frozenset(r.values)).matches(labels) for r in requirements)


def _tolerations(spec: PodSpec) -> list[dict[str, str]]:
    borne = _BORNE + _BORNE_ON_HOST if spec.host_network else _BORNE
    return [{"key": key, "operator": "Exists", "effect": effect} for key, effect in borne]


def bind(spec: Json, template: PodSpec, node: str) -> Json:
    """The spec (as JSON) of the pod for `node`; of the template's own node affinity what was required is settled."""
    term = {"matchFields": [{"key": _NAME, "operator": "In", "values": [node]}]}
    affinity = spec.get("affinity") or {}
    wanted = {**(affinity.get("nodeAffinity") or {}), _REQUIRED: {"nodeSelectorTerms": [term]}}
    added = _tolerations(template)
    kept = [t for t in spec.get("tolerations") or () if not any(_same(t, new) for new in added)]
    return {**spec, "affinity": {**affinity, "nodeAffinity": wanted}, "tolerations": [*kept, *added]}


def _same(held: Json, new: dict[str, str]) -> bool:
    return all((held.get(name) or "") == new[name] for name in ("key", "operator", "effect"))


def node_of(pod: Pod) -> str:
    """The node that a daemon pod is on, or was made for."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = pod.spec.affinity.node_affinity
    if affinity is not None and affinity.required is not None:
        for term in affinity.required.node_selector_terms:
            for each in term.match_fields:
                if each.key == _NAME and each.operator == "In" and len(each.values) == 1:
                    return each.values[0]
    return ""
